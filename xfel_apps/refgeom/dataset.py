"""The runs of a dataset: their detectors, and the indexed spots of their crystals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.reader import ProductReader, ranges
from xfel_apps.containers.rows import Rows, column
from xfel_apps.containers.spots import SPOTS, Spots, is_good
from xfel_apps.errors import ContainerError, GeometryError, SettingsError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.refgeom.lattice import Target
from xfel_apps.refgeom.model import Crystals, Found, Poses
from xfel_apps.refgeom.settings import RefgeomSettings

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes
    ----------
    name : of the run
    events : of the run
    spots, crystals : manifest and reader of each
    shots : (n,) events with a lattice, in order
    """

    name: str
    events: Events
    spots: tuple[Manifest, ProductReader]
    crystals: tuple[Manifest, ProductReader]
    shots: IntArray

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Return the run whose manifests lie in `folder`."""
        events = Events.read(folder / "events.json")
        spots = open_product(folder / "spots.json", SPOTS)
        crystals = open_product(folder / "crystals.json", CRYSTALS)
        stale = crystals[0].inputs.get(SPOTS.name, spots[0].digest) != spots[0].digest
        if stale:
            raise ContainerError(f"{folder}/crystals.json was made from other spots; run index")
        shots = crystals[1].shots()
        indexed = shots.index[shots["n_lattices"] > 0].to_numpy(np.int64)
        return cls(crystals[0].run, events, spots, crystals, indexed)

    @property
    def detector(self) -> Detector:
        """The one detector of the run."""
        used = set(self.events.frame["detector"].to_numpy()[self.shots].tolist())
        texts = {self.events.manifest.extra["detectors"][i] for i in used}
        if len(texts) > 1:
            raise GeometryError(
                f"run {self.name}: the raw files give {len(texts)} geometries from shot to shot; "
                "one a run can be refined"
            )
        return self.events.detectors[min(used)] if used else self.events.detectors[0]

    @property
    def beam(self) -> Beam:
        """Beam of the first indexed shot."""
        return self.events.beam(int(self.shots[0]) if len(self.shots) else 0)


@dataclass(frozen=True)
class Dataset:
    """Runs that are refined together, in order of their names.

    Attributes
    ----------
    runs : of the dataset
    target : known cell
    """

    runs: tuple[Run, ...]
    target: Target

    @classmethod
    def open(cls, folders: Sequence[Path], settings: RefgeomSettings) -> "Dataset":
        """Return the dataset of run folders; its runs must fit together."""
        runs = sorted((Run.open(folder) for folder in folders), key=lambda run: run.name)
        for name, times in Counter(run.name for run in runs).items():
            if times > 1:
                raise ContainerError(f"run {name} is given {times} times; name each run once")
        if not any(len(run.shots) for run in runs):
            names = ", ".join(run.name for run in runs)
            raise ContainerError(f"no indexed crystal in {names}; nothing to refine")
        for run in runs[1:]:
            _check_same(runs[0], run)
        return cls(tuple(runs), _target(runs, settings))

    @property
    def detectors(self) -> list[Detector]:
        """Detector of each run."""
        return [run.detector for run in self.runs]

    @property
    def shots(self) -> list[tuple[int, int]]:
        """(run, event) of every shot with a lattice, in order."""
        return [(i, int(event)) for i, run in enumerate(self.runs) for event in run.shots]

    def close(self) -> None:
        """Close all containers."""
        for run in self.runs:
            run.spots[1].close()
            run.crystals[1].close()


def _check_same(first: Run, other: Run) -> None:
    """Refuse runs whose detectors do not have the same panels."""
    one, two = first.detector, other.detector
    if [(p.name, p.shape) for p in one.panels] != [(p.name, p.shape) for p in two.panels]:
        raise GeometryError(
            f"runs {first.name} and {other.name} have different panels ({len(one.panels)} and "
            f"{len(two.panels)}); refine runs of one detector together"
        )


def _target(runs: Sequence[Run], settings: RefgeomSettings) -> Target:
    """Return the known cell: of the settings, or what all runs were indexed with."""
    manifests = [run.crystals[0] for run in runs if len(run.shots)]
    given = {
        (tuple(m.settings.get("cell") or ()), m.settings.get("space_group")) for m in manifests
    }
    if len(given) > 1 and settings.cell is None:
        cells = "; ".join(str(list(cell)) for cell, _ in sorted(given))
        raise SettingsError(f"the runs were indexed with different cells {cells}: set refgeom.cell")
    cell, group = sorted(given, key=str)[0]
    if not cell or not group:
        run = next(run for run in runs if len(run.shots))
        first = run.crystals[1].frame("crystals")
        cell = tuple(float(first[f"cell_{i}"].median()) for i in range(6))
        group = str(first["space_group"].mode()[0])
        return Target(settings.cell or cell, group, settings.cell is not None)
    found = any("cell_found" in manifest.extra for manifest in manifests)
    return Target(settings.cell or cell, group, settings.cell is not None or not found)


@dataclass(frozen=True)
class Share:
    """Crystals and spots of some shots.

    Attributes
    ----------
    crystals : with enough indexed spots
    found : the indexed spots
    all_spots : every good spot of the crystals' shots, once for each crystal; not indexed
    """

    crystals: Crystals
    found: Found
    all_spots: Found


def read_share(
    dataset: Dataset, shots: Sequence[tuple[int, int]], poses: Poses, settings: RefgeomSettings
) -> Share:
    """Return the crystals of some shots, with their indexed spots.

    Parameters
    ----------
    dataset : runs
    shots : (run, event), in order of run
    poses : panels before the refinement
    settings : crystals with too few spots are left out
    """
    crystals, spots, every = [_CrystalRows.empty()], [_SpotRows.empty()], [_SpotRows.empty()]
    for number in range(len(dataset.runs)):
        events = np.array([event for i, event in shots if i == number], dtype=np.int64)
        if len(events):
            of_run = _read_run(dataset, number, events, settings)
            crystals.append(of_run[0])
            spots.append(of_run[1])
            every.append(of_run[2])
    rows = _CrystalRows.concatenate(crystals)
    turns, strains = dataset.target.split(rows.a_matrix)
    directions = _directions(dataset)
    s0 = directions[rows.run] / rows.wavelength_ang[:, None]
    return Share(
        Crystals(turns, strains, s0, rows.run),
        _found(dataset, poses, rows, rows.n_found, _SpotRows.concatenate(spots)),
        _found(dataset, poses, rows, rows.n_all, _SpotRows.concatenate(every)),
    )


def _directions(dataset: Dataset) -> Array:
    """Return the direction of the beam in each run, (n_runs, 3)."""
    return np.array([run.beam.s0 * run.beam.wavelength_ang for run in dataset.runs])


@dataclass(frozen=True)
class _CrystalRows(Rows):
    """Crystals as index left them."""

    a_matrix: Array = column("f8", "1/angstrom", "A, lab frame", (3, 3))
    wavelength_ang: Array = column("f8", "angstrom", "wavelength of the shot")
    run: IntArray = column("i8", "", "index of the run")
    n_found: IntArray = column("i8", "", "its indexed spots")
    n_all: IntArray = column("i8", "", "good spots of its shot")


@dataclass(frozen=True)
class _SpotRows(Rows):
    """Spots, sorted by crystal and panel."""

    panel: IntArray = column("i8", "", "index of the panel")
    hkl: IntArray = column("i8", "", "Miller indices", (3,))
    px: Array = column("f8", "pixel", "where recorded on the panel (fast, slow)", (2,))


def _read_run(
    dataset: Dataset, number: int, events: IntArray, settings: RefgeomSettings
) -> tuple[_CrystalRows, _SpotRows, _SpotRows]:
    """Return the crystals of some events of a run, their spots, and all spots of their shots."""
    run = dataset.runs[number]
    n_lattices, lattices = run.crystals[1].columns(
        "crystals", events, ["lattice", "a_matrix", "wavelength_ang", "space_group"]
    )
    n_rows, rows = run.crystals[1].columns("indexed", events, ["lattice", "spot", *"hkl"])
    n_spots, columns = run.spots[1].columns("spots", events, list(Spots.schema()))
    good = np.flatnonzero(is_good(Spots(**columns), run.spots[0].extra.get("hot_pixels", [])))
    starts = np.searchsorted(good, np.cumsum(n_spots) - n_spots)
    n_good = np.diff(starts, append=len(good))
    shot = np.repeat(np.arange(len(events)), n_rows)
    spot = good[starts[shot] + rows["spot"]]
    crystal = _crystal_of(n_lattices, lattices["lattice"], shot, rows["lattice"])
    order = np.lexsort((columns["panel"][spot], crystal))
    counts = np.bincount(crystal, minlength=len(lattices["lattice"]))
    kept = counts >= settings.min_crystal_spots
    kept &= lattices["space_group"] == dataset.target.space_group.encode()
    order = order[kept[crystal[order]]]
    owner = np.repeat(np.arange(len(events)), n_lattices)[kept]
    every = good[ranges(starts[owner], n_good[owner])]
    by_panel = np.lexsort(
        (columns["panel"][every], np.repeat(np.arange(len(owner)), n_good[owner]))
    )
    every = every[by_panel]
    crystals = _CrystalRows.make(
        a_matrix=lattices["a_matrix"][kept],
        wavelength_ang=lattices["wavelength_ang"][kept],
        run=np.full(int(kept.sum()), number),
        n_found=counts[kept],
        n_all=n_good[owner],
    )
    px = np.column_stack([columns["fast_px"], columns["slow_px"]])
    hkl = np.column_stack([rows[name] for name in "hkl"])
    spots = _SpotRows.make(panel=columns["panel"][spot[order]], hkl=hkl[order], px=px[spot[order]])
    nothing = np.zeros((len(every), 3))
    return crystals, spots, _SpotRows.make(panel=columns["panel"][every], hkl=nothing, px=px[every])


def _crystal_of(
    n_lattices: IntArray, lattice: IntArray, shot: IntArray, wanted: IntArray
) -> IntArray:
    """Return the row of the lattice that each indexed spot lies on."""
    owner = np.repeat(np.arange(len(n_lattices)), n_lattices)
    keys = owner * 1000 + lattice
    order = np.argsort(keys, kind="stable")
    return np.asarray(order[np.searchsorted(keys, shot * 1000 + wanted, sorter=order)])


def _found(
    dataset: Dataset, poses: Poses, crystals: _CrystalRows, counts: IntArray, spots: _SpotRows
) -> Found:
    """Return spots as the model wants them; `counts` (n_crystals,) says whose they are."""
    crystal = np.repeat(np.arange(len(crystals)), counts)
    run = crystals.run[crystal]
    lab = np.zeros((len(spots), 3))
    for number, detector in enumerate(dataset.detectors):
        rows = run == number
        lab[rows] = detector.lab_mm(spots.panel[rows], *spots.px[rows].T)
    inverse = poses.to_pixels[run, spots.panel]
    px = np.einsum("mij,mj->mi", inverse, lab)[:, :2]
    along = _directions(dataset)[run]
    away = lab - np.sum(lab * along, axis=1, keepdims=True) * along
    radial = np.einsum("mij,mj->mi", inverse, away)[:, :2]
    length = np.linalg.norm(radial, axis=1, keepdims=True)
    radial = np.where(length > 0, radial / np.where(length > 0, length, 1.0), [1.0, 0.0])
    return Found(crystal, spots.panel, spots.hkl, px, radial)
