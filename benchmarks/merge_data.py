"""Reflections as containers, from arrays and from the tables of DIALS, to test and time merging."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reflections import REFLECTIONS, IntegratedCrystals, Reflections
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.geometry.stills import excitation_error_invang, metric_cell, resolution_ang
from xfel_apps.intensities.asu import ambiguity_operators
from xfel_apps.interchange.expt import read_expt
from xfel_apps.interchange.refl import read_refl
from xfel_apps.sources.cbf import is_cbf_name

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Lattice:
    """One crystal and what was integrated of it; columns of `Reflections` by name.

    The mosaic model is that of the partialities among the columns; 0 where there is none.
    """

    a_matrix: Array
    wavelength_ang: float
    space_group: str
    columns: dict[str, Any]
    shot_id: str
    mosaicity_deg: float = 0.0
    block_size_ang: float = 0.0


def write_run(manifest: Path, lattices: Iterable[tuple[int, Lattice]], run: str = "r1") -> Path:
    """Write the lattices of events (in order, events may have several) as a product."""
    folder = manifest.with_suffix("")
    shots: dict[int, list[Lattice]] = {}
    for event, lattice in lattices:
        shots.setdefault(event, []).append(lattice)
    with ContainerWriter(folder, 0, REFLECTIONS, digest=run) as writer:
        for number, (event, mine) in enumerate(sorted(shots.items())):
            tables = {"crystals": _crystals(mine), "reflections": _reflections(mine)}
            n_reflections = len(tables["reflections"])
            writer.append(
                event,
                ShotResult(
                    Outcome.INTEGRATED, columns={"n_reflections": n_reflections}, tables=tables
                ),
                start_s=0.0,
                cpu_s=0.0,
            )
            if number % 500 == 499:
                writer.flush()
    outcomes = dict.fromkeys(shots, Outcome.INTEGRATED)
    Manifest(
        product="reflections",
        stage="integrate",
        version=REFLECTIONS.version,
        run=run,
        digest=run,
        settings={},
        inputs={},
        n_events=len(shots),
        outcomes=count(outcomes),
        containers=(str(writer.path.relative_to(manifest.parent)),),
    ).write(manifest)
    return manifest


def _rows(kind: type[Any], n: int, **given: Any) -> Any:
    columns = {
        name: np.zeros((n, *meta["shape"]), meta["dtype"]) for name, meta in kind.schema().items()
    }
    return kind.make(**{**columns, **given})


def _crystals(lattices: list[Lattice]) -> IntegratedCrystals:
    counts = [len(lattice.columns["h"]) for lattice in lattices]
    d_ang = [lattice.columns["d_ang"] for lattice in lattices]
    rows: IntegratedCrystals = _rows(
        IntegratedCrystals,
        len(lattices),
        lattice=np.arange(len(lattices)),
        a_matrix=[lattice.a_matrix for lattice in lattices],
        cell=[metric_cell(lattice.a_matrix) for lattice in lattices],
        space_group=[lattice.space_group.encode() for lattice in lattices],
        wavelength_ang=[lattice.wavelength_ang for lattice in lattices],
        n_reflections=counts,
        d_min_ang=[np.min(d) if len(d) else 99.0 for d in d_ang],
        shot_id=[lattice.shot_id.encode() for lattice in lattices],
        mosaicity_deg=[lattice.mosaicity_deg for lattice in lattices],
        block_size_ang=[lattice.block_size_ang for lattice in lattices],
    )
    return rows


def _reflections(lattices: list[Lattice]) -> Reflections:
    """Return the reflections of a shot, anywhere on the detector where it is not said."""
    rng = np.random.default_rng(len(lattices[0].columns["h"]))
    parts = [
        _rows(
            Reflections,
            len(lattice.columns["h"]),
            **{
                "fast_px": rng.uniform(0.0, 1000.0, len(lattice.columns["h"])),
                "slow_px": rng.uniform(0.0, 1000.0, len(lattice.columns["h"])),
                "lattice": np.full(len(lattice.columns["h"]), number),
                "partiality": np.ones(len(lattice.columns["h"])),
                "polarization": np.ones(len(lattice.columns["h"])),
                **lattice.columns,
            },
        )
        for number, lattice in enumerate(lattices)
    ]
    return Reflections.concatenate(parts)


def read_dials(
    expt: Path, refl: Path, widths: tuple[float, float] | None = None
) -> list[tuple[int, Lattice]]:
    """Return (frame, lattice) of what DIALS integrated.

    Parameters
    ----------
    widths : if given, partialities are those of a Gaussian in the excitation error with variance
        widths[0]^2 + (widths[1] / d)^2
    """
    table = read_refl(refl)
    result = []
    for number, experiment in enumerate(read_expt(expt)):
        crystal, beam = experiment.crystal, experiment.beam
        assert crystal is not None
        rows = table.need("id") == number
        mine = {name: values[rows] for name, values in table.columns.items()}
        q = mine["miller_index"] @ crystal.a_matrix.T
        d_ang = resolution_ang(q)
        excitation = excitation_error_invang(q, beam.s0)
        columns = {
            **dict(zip("hkl", mine["miller_index"].T, strict=True)),
            "fast_px": mine["xyzcal.px"][:, 0],
            "slow_px": mine["xyzcal.px"][:, 1],
            "d_ang": d_ang,
            "intensity": mine["intensity.sum.value"],
            "sigma": np.sqrt(mine["intensity.sum.variance"]),
            "excitation_invang": excitation,
            "polarization": beam.polarization(mine["s1"]),
        }
        if widths is not None:
            variance = widths[0] ** 2 + (widths[1] / d_ang) ** 2
            columns["partiality"] = np.exp(-0.5 * excitation**2 / variance)
        one_a_file = experiment.image is not None and is_cbf_name(experiment.image)
        frame = number if one_a_file else experiment.frame
        shot_id = f"{expt.stem}:{frame}"
        lattice = Lattice(
            crystal.a_matrix, beam.wavelength_ang, crystal.space_group, columns, shot_id
        )
        result.append((frame, lattice))
    return result


@dataclass(frozen=True)
class Simulation:
    """Reflections of made-up crystals, with the truth behind them.

    Attributes
    ----------
    cell, space_group, d_min_ang : of the crystals
    n_crystals, n_each : crystals, and reflections recorded of each
    sd_log_scale, sd_b_ang2 : spread of the crystals' scales and fall-offs
    noise : variance of the background of a reflection [photon^2]
    level : mean intensity at low resolution [photon]
    min_partiality : partialities are uniform from here to 1
    relative_error : of each observation, besides counting
    is_mixed : whether crystals are indexed in all ways that spots alone leave, as many in each
    """

    cell: tuple[float, ...] = (79.2, 79.2, 38.0, 90.0, 90.0, 90.0)
    space_group: str = "P 43 21 2"
    d_min_ang: float = 3.0
    n_crystals: int = 100
    n_each: int = 200
    sd_log_scale: float = 0.5
    sd_b_ang2: float = 3.0
    noise: float = 100.0
    level: float = 500.0
    min_partiality: float = 0.3
    relative_error: float = 0.0
    is_mixed: bool = False
    seed: int = 1

    def unique(self) -> tuple[NDArray[np.int32], Array, Array]:
        """Return Miller indices, resolution and true intensities of the unique reflections."""
        cell, group = gemmi.UnitCell(*self.cell), gemmi.SpaceGroup(self.space_group)
        hkl = gemmi.make_miller_array(cell, group, self.d_min_ang, 1000.0, True)
        d_ang = cell.calculate_d_array(hkl)
        rng = np.random.default_rng(self.seed)
        fall_off = np.exp(-2 * 10.0 * 0.25 / d_ang**2)
        return hkl, d_ang, self.level * fall_off * rng.exponential(size=len(hkl))

    def scales(self) -> tuple[Array, Array]:
        """Return the true log scales and B factors [Angstrom^2] of the crystals."""
        rng = np.random.default_rng(self.seed + 1)
        return (
            rng.normal(0, self.sd_log_scale, self.n_crystals),
            rng.normal(0, self.sd_b_ang2, self.n_crystals),
        )

    def operators(self) -> list[NDArray[np.int64]]:
        """Return the ways of indexing; the first is the identity."""
        return ambiguity_operators(gemmi.UnitCell(*self.cell), gemmi.SpaceGroup(self.space_group))

    def modes(self) -> NDArray[np.int64]:
        """Return the way in which each crystal is indexed."""
        n_ways = len(self.operators()) if self.is_mixed else 1
        order = np.random.default_rng(self.seed + 3).permutation(self.n_crystals)
        return np.asarray(order % n_ways)

    def modes_after(self, chosen: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the way in which each crystal is indexed once it is turned as chosen."""
        operators = self.operators()
        group = gemmi.SpaceGroup(self.space_group).operations().sym_ops
        rotations = [np.array(op.rot) // 24 for op in group]
        names = {
            (rotation @ operator).tobytes(): number
            for number, operator in enumerate(operators)
            for rotation in rotations
        }
        return np.array(
            [
                names[(operators[given] @ operators[turn]).tobytes()]
                for given, turn in zip(self.modes(), chosen, strict=True)
            ]
        )

    def lattices(self) -> Iterator[tuple[int, Lattice]]:
        """Yield (event, lattice) of all crystals, each in a random symmetry-related setting."""
        hkl, d_ang, truth = self.unique()
        log_scale, b_ang2 = self.scales()
        rng = np.random.default_rng(self.seed + 2)
        rotations = [
            np.array(op.rot) // 24 for op in gemmi.SpaceGroup(self.space_group).operations()
        ]
        operators, modes = self.operators(), self.modes()
        a_matrix = np.linalg.inv(np.array(gemmi.UnitCell(*self.cell).orth.mat.tolist())).T
        for event in range(self.n_crystals):
            rows = rng.integers(len(hkl), size=self.n_each)
            partiality = rng.uniform(self.min_partiality, 1.0, self.n_each)
            factor = np.exp(log_scale[event] - 0.5 * b_ang2[event] / d_ang[rows] ** 2)
            mean = partiality * factor * truth[rows]
            mean = mean * (1 + self.relative_error * rng.normal(size=self.n_each))
            counted = rng.poisson(np.maximum(mean, 0))
            noise = rng.normal(0, np.sqrt(self.noise), self.n_each)
            mates = hkl[rows] @ rotations[rng.integers(len(rotations))] @ operators[modes[event]]
            columns = {
                **dict(zip("hkl", mates.T, strict=True)),
                "d_ang": d_ang[rows],
                "intensity": counted + noise,
                "sigma": np.sqrt(counted + self.noise),
                "partiality": partiality,
            }
            yield event, Lattice(a_matrix, 1.3, self.space_group, columns, f"sim:{event}")
