"""Refinement of one lattice against the pixels of its spots."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.shoebox import LEAST_VARIANCE, BeamLine, pixels_of, shoebox_photons
from xfel_apps.diffbragg.boxes import Boxes, Frame, choose_boxes, cut_pixels, expected_spots
from xfel_apps.diffbragg.fit import Fitted, ShotPixels, ShotState, Target, fit
from xfel_apps.diffbragg.intensities import ExpectedIntensities
from xfel_apps.diffbragg.restraints import Restraints
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.errors import ShotError
from xfel_apps.geometry.prediction import Predictions
from xfel_apps.pixel_model.background import (
    is_away,
    mean_background,
    readout_variance,
    unknown_variance,
)
from xfel_apps.pixel_model.crystal import Parameters, PixelCrystal

Array = NDArray[np.float64]
F4 = NDArray[np.float32]

SHARP = 1.5
"""Sub-pixels are at most so many standard deviations of the sharpest spot wide."""

MOST_SUB_PIXELS = 4
ROUGH = 2.0
"""A fit that is to choose boxes is done when a step gains less than this of the log likelihood."""

MOST_PHOTONS, FAINTEST = 1e9, 1e-12
"""No pixel has more photons; spots of a unit scale fainter than this are not there."""


@dataclass(frozen=True)
class Refined:
    """A lattice, its boxes and how it was fitted.

    Attributes
    ----------
    boxes, shot : the pixels of the last round
    before, after : the model as it was, scale and background fitted, and refined
    misfit_before : (n,) minus log likelihood of each box
    parameters : what was free
    """

    boxes: Boxes
    shot: ShotPixels
    parameters: Parameters
    before: ShotState
    misfit_before: Array
    after: Fitted


@dataclass(frozen=True)
class LatticeTask:
    """What is refined.

    Attributes
    ----------
    frame : pixels and geometry
    expected : intensities
    others : spots that other lattices of the shot are expected to have
    d_min_ang : resolution limit
    restraints, settings : how to refine
    """

    frame: Frame
    expected: ExpectedIntensities
    others: Predictions | None
    d_min_ang: float
    restraints: Restraints
    settings: DiffbraggSettings

    def refine(self, start: PixelCrystal) -> Refined:
        """Return the refined lattice."""
        crystal = start
        for _ in range(self.settings.rounds - 1):
            _, target = self._target(crystal)
            crystal = self._fitted(target, crystal, ROUGH).state.crystal
        boxes, target = self._target(crystal)
        after = self._fitted(target, crystal, self.settings.tolerance)
        before = only_local(target, scaled(target.shot, start), self.settings)
        return Refined(boxes, target.shot, target.parameters, before.state, before.misfit, after)

    def _target(self, crystal: PixelCrystal) -> tuple[Boxes, Target]:
        """Choose boxes with `crystal`; return them and what is to be fitted to them."""
        boxes, shot = self.pixels(crystal)
        settings = self.settings
        parameters = Parameters(
            anisotropic_blocks=settings.anisotropic_blocks,
            bandwidth=settings.bandwidth > 0.0 and settings.bandwidth_ln_sigma > 0.0,
        )
        shot = self._without_outliers(shot)
        return boxes, Target(shot, parameters, self.restraints)

    def _fitted(self, target: Target, crystal: PixelCrystal, tolerance: float) -> Fitted:
        start = scaled(target.shot, crystal)
        return fit(target, start, self.settings.max_steps, max(tolerance, self.settings.tolerance))

    def pixels(self, crystal: PixelCrystal) -> tuple[Boxes, ShotPixels]:
        """Return the boxes that tell most of a lattice and what is known of them."""
        frame, settings = self.frame, self.settings
        found, share = expected_spots(
            crystal, frame.detector, frame.beam, self.d_min_ang, settings.reach
        )
        strength = self.expected.at(found.hkl)[0] * share * frame.beam.polarization(found.s1)
        boxes = choose_boxes(found, strength, frame.detector, settings.max_boxes, settings.box_px)
        all_spots = found if self.others is None else Predictions.concatenate([found, self.others])
        observed = cut_pixels(frame, boxes, all_spots)
        boxes, observed = _with_pixels(boxes, observed)
        if len(boxes) < settings.min_boxes:
            raise ShotError(
                f"diffbragg: {len(boxes)} spots are expected on good pixels, fewer than "
                f"diffbragg.min_boxes={settings.min_boxes}"
            )
        intensity, ln_sigma = self.expected.at(boxes.found.hkl)
        beam = beam_line(frame, settings.oversample or sub_pixels(frame, crystal, boxes))
        rectangles = boxes.rectangles(frame.detector)
        noise = settings.readout_sigma
        variance = readout_variance(rectangles, observed) if noise is None else noise**2
        bright = unknown_variance(rectangles, observed, settings.model_error)
        return boxes, ShotPixels(
            rectangles,
            observed,
            boxes.found.hkl,
            intensity,
            ln_sigma,
            beam,
            variance,
            variance + bright,
        )

    def _without_outliers(self, shot: ShotPixels) -> ShotPixels:
        """Return the pixels without those away from the spot that are far from the background."""
        box, _, _ = pixels_of(shot.boxes)
        background = mean_background(shot.boxes, shot.observed)[box]
        sigma = np.sqrt(np.maximum(background, LEAST_VARIANCE) + shot.readout_variance)
        far = np.abs(shot.observed - background) > self.settings.outlier_sigmas * sigma
        outlier = far & is_away(shot.boxes)
        return replace(shot, observed=np.where(outlier, np.nan, shot.observed).astype(np.float32))


def only_local(target: Target, state: ShotState, settings: DiffbraggSettings) -> Fitted:
    """Return the fit of scale, intensities and backgrounds, the lattice left as it is."""
    fixed = replace(target, parameters=replace(target.parameters, lattice=False, bandwidth=False))
    return fit(fixed, state, settings.max_steps, settings.tolerance)


def beam_line(frame: Frame, oversample: int) -> BeamLine:
    """Return the beam as the pixels' model takes it."""
    beam = frame.beam
    return BeamLine(
        beam.wavelength_ang,
        beam.direction,
        beam.polarization_fraction,
        beam.polarization_normal,
        oversample,
    )


def sub_pixels(frame: Frame, crystal: PixelCrystal, boxes: Boxes) -> int:
    """Return how finely pixels must be divided for the sharpest spots."""
    variance = np.linalg.eigvalsh(crystal.covariance(boxes.found.hkl))[:, 0].min()
    panel = frame.detector.panels[int(boxes.found.panel[0])]
    distance_mm = np.linalg.norm(frame.detector.origins_mm, axis=1).min()
    pixel = max(panel.pixel_mm) / distance_mm / frame.beam.wavelength_ang
    return int(np.clip(np.ceil(pixel / (SHARP * np.sqrt(variance))), 1, MOST_SUB_PIXELS))


def _with_pixels(boxes: Boxes, observed: F4) -> tuple[Boxes, F4]:
    """Return the boxes of which most pixels may be used."""
    counts = boxes.size.prod(axis=1)
    box = np.repeat(np.arange(len(boxes)), counts)
    used = np.bincount(box, np.isfinite(observed), len(boxes))
    kept = used >= 0.5 * counts
    return boxes.take(kept), observed[kept[box]]


def scaled(shot: ShotPixels, crystal: PixelCrystal) -> ShotState:
    """Return a state with the scale and backgrounds that the pixels suggest for the crystal."""
    background = np.zeros((len(shot), 3))
    background[:, 0] = mean_background(shot.boxes, shot.observed)
    zero = np.zeros(len(shot))
    unit = ShotState(replace(crystal, scale=1.0), zero, background * 0.0)
    spots = shoebox_photons(shot.boxes, unit.spots(shot), shot.beam)
    box, _, _ = pixels_of(shot.boxes)
    used = np.isfinite(shot.observed)
    level = background[box, 0]
    weight = used * spots / (np.maximum(level, 0.1) + shot.readout_variance)
    net = np.where(used, shot.observed, 0.0) - level
    brightest = max(float(spots.max(initial=0.0)), FAINTEST)
    scale = float(np.sum(weight * net)) / max(float(np.sum(weight * spots)), FAINTEST)
    scale = float(np.clip(scale, 1e-3 / brightest, MOST_PHOTONS / brightest))
    return ShotState(replace(crystal, scale=scale), zero, background)
