"""One shot: what is drawn for it, its mean photons, and what the detector makes of them."""

from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from xfel_apps.compute.forward import (
    Illumination,
    MosaicCrystal,
    Rectangles,
    Sampling,
    Sensor,
    forward,
)
from xfel_apps.compute.point_spread import PointSpread, spread
from xfel_apps.compute.spread import FWHM, divergent_directions, mosaic_rotations
from xfel_apps.compute.structure_factors import DenseIntensities
from xfel_apps.geometry import Beam, Detector
from xfel_apps.simulate.background import Background, make_background
from xfel_apps.simulate.detector import PixelFaults, make_detector, pixel_faults
from xfel_apps.simulate.settings import (
    BeamSettings,
    CrystalSettings,
    DetectorSettings,
    SimulateSettings,
)
from xfel_apps.simulate.structure import StructureFactors, structure_factors
from xfel_apps.units import wavelength_from_energy

Array = NDArray[np.float64]

START_S = 1_800_000_000.0
"""When the first shot was taken [s since 1970]."""
RATE_HZ = 120.0
"""Shots a second (LCLS)."""


@dataclass(frozen=True)
class ShotTruth:
    """What is drawn for a shot.

    Attributes
    ----------
    kind : "hit", "weak" or "blank"
    a_matrices : (n_crystals, 3, 3) A of each crystal [1/Angstrom]; NaN on a blank
    cell : (6,) of the first crystal [Angstrom, degrees]; NaN on a blank
    wavelength_ang : mean of the pulse's spectrum [Angstrom]
    scale : scattering power times pulse energy, relative to the average; 0 on a blank
    pulse_energy_mj, laser_on, timestamp_s : scalars of the shot
    water : thickness of the jet times pulse energy, relative to the average
    pulse : energy relative to the average
    domains : (n_crystals, n_domains, 3, 3) rotations of the mosaic domains in the lab
    wavelengths_ang, weights : (n_wavelengths,) spectrum of the pulse [Angstrom], sum 1
    """

    kind: str
    a_matrices: Array
    cell: Array
    wavelength_ang: float
    scale: float
    pulse_energy_mj: float
    laser_on: bool
    timestamp_s: float
    water: float
    pulse: float
    domains: Array
    wavelengths_ang: Array
    weights: Array


@dataclass(frozen=True)
class Experiment:
    """All that is the same for every shot."""

    settings: SimulateSettings
    factors: StructureFactors
    intensities: DenseIntensities
    detector: Detector
    beam: Beam
    background: Background
    bad: PixelFaults


def make_experiment(model: Path | None, settings: SimulateSettings) -> Experiment:
    """Return what every shot needs: structure factors, detector, background."""
    detector = make_detector(settings.detector, settings.seed)
    beam = Beam(wavelength_from_energy(settings.beam.energy_ev))
    factors = structure_factors(
        model, settings.crystal, settings.seed, energy_ev=settings.beam.energy_ev
    )
    return Experiment(
        settings,
        factors,
        factors.dense(),
        detector,
        beam,
        make_background(settings, detector, beam),
        pixel_faults(settings.detector, detector, settings.seed),
    )


def shot_rng(seed: int, shot: int) -> np.random.Generator:
    """Return the random numbers of one shot, the same on whichever rank draws them."""
    return np.random.default_rng(np.random.SeedSequence((seed, shot)))


def draw_truth(experiment: Experiment, shot: int, rng: np.random.Generator) -> ShotTruth:
    """Return what one shot is; every kind of shot draws the same numbers."""
    settings = experiment.settings
    crystal, beam = settings.crystal, settings.beam
    kind = _kind(settings, rng.uniform())
    pulse = max(0.05, 1.0 + beam.pulse_energy_spread * rng.standard_normal())
    power = np.exp(crystal.size_spread * rng.standard_normal())
    water = np.exp(settings.background.water_spread * rng.standard_normal())
    wavelength = experiment.beam.wavelength_ang * (1.0 + beam.jitter * rng.standard_normal())
    cells = [_cell(experiment.factors.cell, crystal, rng) for _ in range(crystal.crystals_per_hit)]
    turns = [random_rotation(rng) for _ in cells]
    reciprocal = [np.array(cell.frac.mat.tolist()).T for cell in cells]
    a_matrices = np.array([turn @ b for turn, b in zip(turns, reciprocal, strict=True)])
    domains = np.array([_domains(crystal, turn, rng) for turn in turns])
    wavelengths, weights = spectrum(beam, float(wavelength), rng)
    relative = {"hit": 1.0, "weak": settings.weak_scale, "blank": 0.0}[kind]
    nothing = np.nan if kind == "blank" else 1.0
    return ShotTruth(
        kind=kind,
        a_matrices=nothing * a_matrices,
        cell=nothing * np.array(cells[0].parameters),
        wavelength_ang=float(weights @ wavelengths),
        scale=float(relative * power * pulse),
        pulse_energy_mj=float(beam.pulse_energy_mj * pulse),
        laser_on=shot % beam.laser_every == 0,
        timestamp_s=START_S + shot / RATE_HZ,
        water=float(water * pulse),
        pulse=float(pulse),
        domains=domains,
        wavelengths_ang=wavelengths,
        weights=weights,
    )


def _kind(settings: SimulateSettings, draw: float) -> str:
    if draw < settings.hit_fraction:
        return "hit"
    return "weak" if draw < settings.hit_fraction + settings.weak_fraction else "blank"


def random_rotation(rng: np.random.Generator) -> Array:
    """Return a rotation (3, 3), every orientation equally likely (a random unit quaternion)."""
    return np.asarray(Rotation.from_quat(rng.standard_normal(4)).as_matrix())


def _domains(crystal: CrystalSettings, turn: Array, rng: np.random.Generator) -> Array:
    """Return rotations (n_domains, 3, 3) in the lab of a crystal's domains, turned by `turn`."""
    own = mosaic_rotations(crystal.domains, crystal.mosaicity_deg, int(rng.integers(2**32)))
    return np.asarray(turn @ own @ turn.T)


def _cell(
    mean: gemmi.UnitCell, crystal: CrystalSettings, rng: np.random.Generator
) -> gemmi.UnitCell:
    """Return a crystal's own cell: lengths that symmetry makes equal stay equal, angles stay."""
    change = 1.0 + crystal.cell_spread * rng.standard_normal(3)
    if np.isclose(mean.b, mean.a):
        change[1] = change[0]
    if np.isclose(mean.c, mean.a):
        change[2] = change[0]
    a, b, c = (float(length) for length in change * np.array([mean.a, mean.b, mean.c]))
    return gemmi.UnitCell(a, b, c, mean.alpha, mean.beta, mean.gamma)


def mean_photons(experiment: Experiment, truth: ShotTruth) -> Array:
    """Return the photons (slow, fast) that each pixel of the slab gets on average."""
    background = experiment.background
    photons = truth.water * background.water.astype(float)
    photons += truth.pulse * background.air
    if truth.kind != "blank":
        for a_matrix, domains in zip(truth.a_matrices, truth.domains, strict=True):
            _add_spots(photons, experiment, domains @ a_matrix, truth)
    return photons


def _add_spots(photons: Array, experiment: Experiment, a_matrices: Array, truth: ShotTruth) -> None:
    """Add one crystal's Bragg spots to `photons` (slow, fast)."""
    detector, settings = experiment.detector, experiment.settings
    pixels = Rectangles(detector.origins_mm, detector.axes, detector.sizes)
    crystal = MosaicCrystal(
        a_matrices,
        block_cells(settings.crystal, experiment.factors.cell),
        experiment.intensities,
        settings.shape,
        settings.crystal.interpolation,
    )
    sampling = Sampling(settings.oversample, sensor=_sensor(settings.detector))
    spots = forward(pixels, crystal, illumination(experiment, truth), sampling)
    for panel, part in zip(detector.panels, pixels.split(spots), strict=True):
        photons[panel.slab] += part


def _sensor(detector: DetectorSettings) -> Sensor | None:
    if detector.sensor_um == 0:
        return None
    return Sensor(detector.sensor_um * 1e-3, detector.attenuation_um * 1e-3, detector.layers)


def illumination(experiment: Experiment, truth: ShotTruth) -> Illumination:
    """Return the pulse of one shot: its spectrum, and photons times blocks on a unit of area."""
    settings = experiment.settings
    blocks = n_blocks(settings.crystal, experiment.factors.cell)
    fluence = settings.beam.photons / (settings.beam.focus_um * 1e-3) ** 2
    beam = experiment.beam
    return Illumination(
        truth.wavelengths_ang,
        truth.weights * fluence * blocks * truth.scale,
        beam.direction,
        beam.polarization_fraction,
        beam.polarization_normal,
        _divergence(settings, beam),
    )


def _divergence(settings: SimulateSettings, beam: Beam) -> Array | None:
    """Return the directions (n, 3) of the beam, the same on every shot."""
    if settings.beam.divergence_mrad == (0.0, 0.0):
        return None
    return divergent_directions(
        settings.beam.directions,
        np.array(beam.direction),
        np.array(beam.polarization_normal),
        settings.beam.divergence_mrad,
        settings.seed,
    )


def block_cells(crystal: CrystalSettings, cell: gemmi.UnitCell) -> tuple[float, float, float]:
    """Return how many cells long a coherent block is along a, b and c; at least one.

    >>> block_cells(CrystalSettings(block_ang=1000), gemmi.UnitCell(50, 40, 2000, 90, 90, 90))
    (20.0, 25.0, 1.0)
    """
    a, b, c = (max(1.0, crystal.block_ang / length) for length in (cell.a, cell.b, cell.c))
    return a, b, c


def n_blocks(crystal: CrystalSettings, cell: gemmi.UnitCell) -> float:
    """Return how many coherent blocks a crystal of average size has."""
    block_ang3 = float(np.prod(block_cells(crystal, cell))) * cell.volume
    return float((crystal.size_um * 1e4) ** 3 / block_ang3)


def spectrum(beam: BeamSettings, mean_ang: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return wavelengths [Angstrom] and weights (sum 1) of a pulse, a Gaussian to 2 sigma.

    SASE: times random numbers of an exponential distribution, each wavelength a mode of its own
    (Saldin, Schneidmiller & Yurkov 1998, Opt. Commun. 148, 383).
    """
    if beam.bandwidth == 0 or beam.wavelengths == 1:
        return np.array([mean_ang]), np.ones(1)
    steps = np.linspace(-2.0, 2.0, beam.wavelengths)
    weights = np.exp(-(steps**2) / 2.0)
    if beam.sase:
        weights = weights * rng.standard_exponential(beam.wavelengths)
    return mean_ang * (1.0 + steps * beam.bandwidth / FWHM), weights / weights.sum()


def detect(experiment: Experiment, photons: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return what the detector records (slow, fast) [ADU] where `photons` come on average.

    Photons are counted, their signal spreads, each pixel has its gain, read-out adds its noise.
    """
    settings, bad = experiment.settings.detector, experiment.bad
    counted = rng.poisson(photons)
    if settings.spread_fwhm_px or settings.gain_spread:
        signal = settings.gain * bad.gain * _spread(experiment, counted.astype(float))
    else:
        signal = np.asarray(settings.gain * counted, dtype=np.float64)
    if settings.read_noise_adu:
        signal = signal + settings.read_noise_adu * rng.standard_normal(photons.shape)
    recorded = np.rint(signal).astype(np.int64)
    recorded.flat[bad.hot] = rng.poisson(bad.hot_adu)
    recorded.flat[bad.dead] = 0
    return np.minimum(recorded, settings.saturation_adu + 1)


def _spread(experiment: Experiment, image: Array) -> Array:
    """Return the signal (slow, fast) of counted photons after it spread within each panel."""
    settings = experiment.settings.detector
    how = PointSpread(settings.spread_fwhm_px, settings.spread_shape)
    result = np.zeros_like(image)
    for panel in experiment.detector.panels:
        result[panel.slab] = spread(image[panel.slab], how)
    return result
