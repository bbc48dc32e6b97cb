"""What the truth's orientations of the nanoBragg stills can be reached to, and how well fits do.

nanoBragg turns nine of a crystal's ten mosaic domains at random; the truth names the tenth. Pixels
show the mean of all, which is off the named one. Three measurements over every hit:

- Its boxes are dealt to two halves, each fitted by itself. Half the difference is the error of the
  fit of all boxes, no truth needed. That both halves are off the named orientation by the same turn
  (their correlation) says that the crystal in the beam is, not the fit.
- The same shots again, by our forward model with ten domains that are known, drawn as nanoBragg
  draws them: how far the same fits are off the first domain, and off the mean.
- The fit given the true |F|^2, as the published program was: whether intensities matter.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gemmi
import h5py
import numpy as np
from numpy.typing import NDArray

from benchmarks.data import data_folder
from tests.nanobragg import truth_intensities
from xfel_apps.compare.orientation import in_setting_of, lattice_rotations
from xfel_apps.compute.forward import (
    R_ELECTRON_SQUARED_MM2,
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    forward,
)
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.diffbragg.fit import Fitted, ShotPixels, Target, fit
from xfel_apps.diffbragg.intensities import ExpectedIntensities
from xfel_apps.diffbragg.lattice import Refined, scaled
from xfel_apps.diffbragg.processor import ShotRefiner, Task
from xfel_apps.diffbragg.run import DiffbraggInput
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.intensities.mtz import Header, write_mtz
from xfel_apps.pixel_model.crystal import PixelCrystal, rotation
from xfel_apps.sources import FrameCache

Array = NDArray[np.float64]

N_CELLS, N_DOMAINS, MOSAIC_DEG = (20.0, 20.0, 40.0), 10, 0.05
"""Of the simulation, `params.json`."""


@dataclass(frozen=True)
class Hits:
    """The truth of the hits.

    Attributes
    ----------
    a_matrix : A (3, 3) of each shot, of its first domain [1/Angstrom]
    is_hit : by shot
    intensities : true |F|^2, for what is simulated
    """

    a_matrix: Array
    is_hit: NDArray[np.bool_]
    intensities: DenseIntensities

    @classmethod
    def read(cls) -> "Hits":
        """Return the truth."""
        with h5py.File(data_folder("nanobragg_lysozyme") / "truth.h5") as file:
            return cls(file["A"][()], file["kind"][()] == b"hit", truth_intensities(file))


def turn_deg(found: PixelCrystal, true: Array) -> Array:
    """Return the rotation vector (3,) from the true A (3, 3) to that of a lattice [degree]."""
    setting = in_setting_of(found.a_matrix, true, lattice_rotations(found.cell))
    left, _, right = np.linalg.svd(setting @ np.linalg.inv(true))
    turn = left @ right  # small: sine and angle are the same
    axis = turn[[2, 0, 1], [1, 2, 0]] - turn[[1, 2, 0], [2, 0, 1]]
    return np.asarray(np.degrees(axis / 2.0))


def domain_turns(rng: np.random.Generator) -> Array:
    """Return the rotation vectors (10, 3) of domains as nanoBragg draws them [degree].

    The first is none; the others are about random axes, by (1 - u^2)^(1/3) of the mosaicity with u
    even between -1 and 1.
    """
    axes = rng.normal(size=(N_DOMAINS, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angle = MOSAIC_DEG * np.cbrt(1.0 - rng.uniform(-1.0, 1.0, N_DOMAINS) ** 2)
    angle[0] = 0.0
    return np.asarray(axes * angle[:, None])


def half(shot: ShotPixels, number: int) -> ShotPixels:
    """Return every second box of a shot."""
    box = np.repeat(np.arange(len(shot)), shot.boxes.sizes.prod(axis=1))
    rows, pixels = np.arange(len(shot)) % 2 == number, box % 2 == number
    boxes = Rectangles(
        shot.boxes.origins_mm[rows], shot.boxes.axes_mm[rows], shot.boxes.sizes[rows]
    )
    return replace(
        shot,
        boxes=boxes,
        observed=shot.observed[pixels],
        noise=shot.noise[pixels],
        hkl=shot.hkl[rows],
        intensity=shot.intensity[rows],
        ln_sigma=shot.ln_sigma[rows],
    )


def fitted(task: Task, refined: Refined, shot: ShotPixels) -> Fitted:
    """Return the fit of other pixels, from where the fit of all ended."""
    settings = task.lattice.settings
    target = Target(shot, refined.parameters, task.lattice.restraints)
    start = scaled(shot, refined.after.state.crystal)
    return fit(target, start, settings.max_steps, settings.tolerance)


def simulated(refined: Refined, hits: Hits, event: int, turns_deg: Array, seed: int) -> ShotPixels:
    """Return the shot's boxes as its crystal would fill them with domains that are known."""
    shot, state = refined.shot, refined.after.state
    domains = np.array([rotation(turn) for turn in np.radians(turns_deg)]) @ hits.a_matrix[event]
    fluence = state.crystal.scale / np.prod(N_CELLS) / R_ELECTRON_SQUARED_MM2
    spots = forward(
        shot.boxes,
        MosaicCrystal(domains, N_CELLS, hits.intensities, "gaussian"),
        Illumination(
            np.array([shot.beam.wavelength_ang]),
            np.array([fluence]),
            polarization_fraction=shot.beam.polarization_fraction,
        ),
        Sampling(1),
    )
    level = np.repeat(state.background[:, 0], shot.boxes.sizes.prod(axis=1))
    photons = np.random.default_rng(seed).poisson(np.maximum(level, 0.0) + spots)
    return replace(shot, observed=np.where(np.isfinite(shot.observed), photons, np.nan))


def refined_hits(refiner: ShotRefiner, events: Any, hits: Hits) -> Iterator[tuple[int, Task]]:
    """Yield the number and the first lattice of every hit."""
    for event in map(int, events):
        if hits.is_hit[event]:
            yield event, refiner.tasks(event)[0]


def given_true_intensities(data: DiffbraggInput, settings: DiffbraggSettings) -> dict[str, float]:
    """Return the errors of the named orientations where the true |F|^2 are known to 2 %."""
    hits, events = Hits.read(), data.reflections.events
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "true.mtz"
        with h5py.File(data_folder("nanobragg_lysozyme") / "truth.h5") as file:
            hkl, intensity = file["F_hkl"][()], file["I_true"][()]
        known = intensity > 0.0
        columns = [("IMEAN", "J", intensity[known]), ("SIGIMEAN", "Q", 0.01 * intensity[known])]
        mtz = gemmi.read_mtz_file(str(data.mtz))
        write_mtz(path, hkl[known], columns, Header(mtz.cell, mtz.spacegroup, 1.305), [])
        expected = ExpectedIntensities.read(path, 0.02)
    refiner = _refiner(data, expected, settings)
    turns = np.array(
        [
            turn_deg(task.lattice.refine(task.start).after.state.crystal, hits.a_matrix[event])
            for event, task in refined_hits(refiner, events, hits)
        ]
    )
    return {
        "true_f_orientation_deg_after": median_length(turns),
        "true_f_orientation_deg_after_20_hits": median_length(turns[:20]),
    }


def domain_figures(data: DiffbraggInput, settings: DiffbraggSettings) -> dict[str, float]:
    """Return what comparing halves and known domains says."""
    expected = ExpectedIntensities.read(data.mtz, settings.merged_ln_sigma)
    refiner, events = (
        _refiner(data, expected, settings),
        data.reflections.events,
    )
    hits, rng = Hits.read(), np.random.default_rng(1)
    halves, first, mean = [], [], []
    for event, task in refined_hits(refiner, events, hits):
        refined = task.lattice.refine(task.start)
        true = hits.a_matrix[event]
        both = [fitted(task, refined, half(refined.shot, number)) for number in (0, 1)]
        halves.append([turn_deg(one.state.crystal, true) for one in both])
        turns = domain_turns(rng)
        again = fitted(task, refined, simulated(refined, hits, event, turns, event))
        first.append(turn_deg(again.state.crystal, true))
        mean.append(first[-1] - turns.mean(axis=0))
    one, other = np.array(halves).transpose(1, 0, 2)
    return {
        "orientation_deg_error_by_halves": median_length(0.5 * (one - other)),
        "orientation_halves_correlation": round(
            float(np.corrcoef(one.ravel(), other.ravel())[0, 1]), 3
        ),
        "known_domains_orientation_deg_of_first": median_length(np.array(first)),
        "known_domains_orientation_deg_of_mean": median_length(np.array(mean)),
    }


def _refiner(
    data: DiffbraggInput, expected: ExpectedIntensities, settings: DiffbraggSettings
) -> ShotRefiner:
    return ShotRefiner(data.run(), FrameCache(), expected, settings)


def median_length(vectors: Array) -> float:
    """Return the median length of vectors (n, 3)."""
    return round(float(np.median(np.linalg.norm(vectors, axis=1))), 4)
