"""From the experiment lists and reflection tables of DIALS to shots in our tables."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.reflections import ReflectionFlag
from xfel_apps.containers.spots import Spots
from xfel_apps.errors import SourceError, XfelError
from xfel_apps.geometry import Detector
from xfel_apps.interchange.dials_files import Kind, Pair, has_kind
from xfel_apps.interchange.expt import Experiment
from xfel_apps.interchange.flags import (
    INTEGRATED,
    REFLECTION_BITS,
    SPOT_BITS,
    DialsFlag,
    from_dials,
    has,
)
from xfel_apps.interchange.models import CrystalModel
from xfel_apps.interchange.refl import ReflTable
from xfel_apps.interchange.shots import (
    NO_MATCHES,
    Matches,
    Measured,
    PeerLattice,
    PeerShot,
    with_resolution,
)
from xfel_apps.sources import open_raw

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Key = tuple[Path, int]

NOT_INTEGRATED = int(ReflectionFlag.BACKGROUND)
"""Flag of a reflection that DIALS did not integrate and does not say why."""
SAME_PX = 1e-3
"""Spots of two tables this near to each other are the same."""


@dataclass
class Gathered:
    """What the files say of one shot.

    Attributes
    ----------
    experiment : that has its beam and detector; those of the last stage count
    kind : the stage that it comes from
    strong : (table, rows) of its spots
    indexed, integrated : (experiment, table, rows) of each lattice
    """

    experiment: Experiment
    kind: Kind
    strong: list[tuple[ReflTable, IntArray]] = field(default_factory=list)
    indexed: list[tuple[Experiment, ReflTable, IntArray]] = field(default_factory=list)
    integrated: list[tuple[Experiment, ReflTable, IntArray]] = field(default_factory=list)


def gather(pairs: Sequence[Pair]) -> dict[Key, Gathered]:
    """Return what the files say of each shot, in order of file and frame."""
    shots: dict[Key, Gathered] = {}
    for pair in pairs:
        for number, experiment in enumerate(pair.experiments):
            key = experiment.image or pair.path.resolve(), experiment.frame
            shot = shots.setdefault(key, Gathered(experiment, pair.kind))
            if pair.kind >= shot.kind:
                shot.experiment, shot.kind = experiment, pair.kind
            if pair.table is None:
                continue
            rows = pair.rows[number]
            if pair.kind == Kind.STRONG:
                shot.strong.append((pair.table, rows))
            else:
                _add_lattice(shot, pair, (experiment, pair.table, rows))
    return dict(sorted(shots.items(), key=lambda item: (str(item[0][0]), item[0][1])))


def _add_lattice(
    shot: Gathered, pair: Pair, lattice: tuple[Experiment, ReflTable, IntArray]
) -> None:
    if lattice[0].crystal is not None:
        (shot.indexed if pair.kind == Kind.INDEXED else shot.integrated).append(lattice)


def peer_shots(pairs: Sequence[Pair], shots: Mapping[Key, Gathered]) -> Iterator[PeerShot]:
    """Yield the shots that were gathered."""
    placed = Placer()
    looked = any(has_kind(pairs, kind) for kind in (Kind.INDEXED, Kind.INTEGRATED))
    integrated = has_kind(pairs, Kind.INTEGRATED)
    for (path, frame), found in shots.items():
        spots, lattices = _lattices(found)
        beam = found.experiment.beam
        detector = placed.detector(found.experiment.detector, path, frame)
        yield PeerShot(
            path,
            frame,
            beam,
            detector,
            with_resolution(spots, detector, beam),
            bool(len(spots) or lattices),
            lattices if looked else None,
            integrated,
        )


class Placer:
    """Puts panels where the raw files, if they can be read, have them in their frames."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Detector, Detector]] = {}
        self._last: tuple[Detector, Detector] | None = None

    def detector(self, detector: Detector, path: Path, frame: int) -> Detector:
        """Return the detector, its panels' places those of the raw file."""
        if id(detector) not in self._known:
            self._known[id(detector)] = detector, self._placed(detector, path, frame)
        return self._known[id(detector)][1]

    def _placed(self, detector: Detector, path: Path, frame: int) -> Detector:
        if len(detector.panels) == 1 and detector.panels[0].slab_start == (0, 0):
            return detector
        try:
            raw = open_raw(path)
        except XfelError:
            return detector
        try:
            own = raw.detector(frame)
        finally:
            raw.close()
        if [p.shape for p in own.panels] != [p.shape for p in detector.panels]:
            raise SourceError(f"{path}: has other panels than the experiment list says")
        panels = tuple(
            replace(panel, slab_start=place.slab_start)
            for panel, place in zip(detector.panels, own.panels, strict=True)
        )
        return Detector(panels, own.slab_shape)


def _lattices(found: Gathered) -> tuple[Spots, list[PeerLattice]]:
    """Return spots and lattices of a shot; spots of indexed tables come first."""
    parts = [_spots(table, rows) for _, table, rows in found.indexed]
    starts = np.cumsum([0, *(len(part) for part in parts)])
    spots = Spots.concatenate(parts)
    others = Spots.concatenate([_spots(table, rows) for table, rows in found.strong])
    spots = Spots.concatenate([spots, others.take(~_in(others, spots))])
    lattices = []
    for (experiment, table, rows), start in zip(found.indexed, starts, strict=False):
        hkl = table.need("miller_index")[rows].astype(np.int64)
        used = np.flatnonzero(np.any(hkl != 0, axis=1))
        lattices.append((experiment, Matches(start + used, hkl[used])))
    return spots, _with_measured(lattices, found.integrated)


def _with_measured(
    indexed: list[tuple[Experiment, Matches]],
    integrated: list[tuple[Experiment, ReflTable, IntArray]],
) -> list[PeerLattice]:
    """Return lattices with what was integrated of them: by identifier, else by number."""
    left = list(range(len(indexed)))
    result = []
    for number, (experiment, table, rows) in enumerate(integrated):
        same = [i for i in left if indexed[i][0].identifier == experiment.identifier != ""]
        if not same and not experiment.identifier:
            same = [i for i in left if i == number]
        matches = NO_MATCHES
        if same:
            left.remove(same[0])
            matches = indexed[same[0]][1]
        result.append(PeerLattice(_model(experiment), matches, _measured(table, rows)))
    if integrated:
        return result
    return [PeerLattice(_model(e), matches, None) for e, matches in indexed]


def _model(experiment: Experiment) -> CrystalModel:
    assert experiment.crystal is not None
    return experiment.crystal


def _in(spots: Spots, others: Spots) -> NDArray[np.bool_]:
    """Return which spots (n,) are among the others."""
    same = spots.panel[:, None] == others.panel[None]
    for name in ("fast_px", "slow_px"):
        one, two = getattr(spots, name), getattr(others, name)
        same &= np.abs(one[:, None] - two[None]) < SAME_PX
    return np.asarray(same.any(axis=1))


def _spots(table: ReflTable, rows: IntArray) -> Spots:
    centre, variance = table.need("xyzobs.px.value")[rows], table.need("xyzobs.px.variance")[rows]
    intensity = table.need("intensity.sum.value")[rows]
    zero = np.zeros(len(rows))
    columns = {name: values[rows] for name, values in table.columns.items()}
    return Spots.make(
        panel=table.need("panel")[rows],
        fast_px=centre[:, 0],
        slow_px=centre[:, 1],
        fast_var_px2=variance[:, 0],
        slow_var_px2=variance[:, 1],
        intensity=intensity,
        sigma=np.sqrt(np.maximum(table.need("intensity.sum.variance")[rows], 0.0)),
        background=columns.get("background.mean", zero),
        peak=columns.get("peak", zero),
        peak_fast=columns.get("peak.fast", np.floor(centre[:, 0])),
        peak_slow=columns.get("peak.slow", np.floor(centre[:, 1])),
        n_pixels=columns.get("n_signal", zero),
        d_ang=zero,
        flags=from_dials(columns.get("flags", zero), SPOT_BITS),
    )


def _measured(table: ReflTable, rows: IntArray) -> Measured:
    """Return what was integrated of a lattice; rows that DIALS did not integrate are flagged."""
    columns = {name: values[rows] for name, values in table.columns.items()}
    flags = columns["flags"]
    summed = table.need("intensity.sum.value")[rows]
    sum_sigma = np.sqrt(np.maximum(table.need("intensity.sum.variance")[rows], 0.0))
    intensity, sigma = summed.copy(), sum_sigma.copy()
    if "intensity.prf.value" in columns:
        fitted = has(flags, DialsFlag.INTEGRATED_PRF) & (columns["intensity.prf.variance"] > 0)
        fitted |= ~has(flags, INTEGRATED)
        intensity[fitted] = columns["intensity.prf.value"][fitted]
        sigma[fitted] = np.sqrt(np.maximum(columns["intensity.prf.variance"][fitted], 0.0))
    bad = from_dials(flags, REFLECTION_BITS)
    where = table.need("xyzcal.px")[rows]
    given: dict[str, Any] = {
        "panel": table.need("panel")[rows],
        "fast_px": where[:, 0],
        "slow_px": where[:, 1],
        "intensity": intensity,
        "sigma": sigma,
        "intensity_sum": summed,
        "sigma_sum": sum_sigma,
        "background": columns.get("background.mean", np.zeros(len(rows))),
        "flags": np.where(has(flags, INTEGRATED), 0, np.where(bad, bad, NOT_INTEGRATED)),
    }
    if "partiality" in columns and np.any(columns["partiality"] != 1.0):
        given["partiality"] = columns["partiality"]
    return Measured(table.need("miller_index")[rows].astype(np.int64), given)
