"""Integrate all lattices of one shot together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import (
    MAX_HALF_PX,
    Readout,
    Recipe,
    Sums,
    Windows,
    integrate,
)
from xfel_apps.geometry import Beam, Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, Predictions, predict
from xfel_apps.integrate.limit import resolution_limit_ang
from xfel_apps.integrate.profile import StrongSpots, gaussian_profile, learn_profile
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shape import Frames, SpotShape, measure_shape
from xfel_apps.integrate.width import width_scale

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

LOOK_BEYOND = 1.5
"""A lattice's limit is sought to this factor beyond its outermost indexed spot, in 1/d."""

FIRST_SIGMAS = 2.0
"""Standard deviations of the expected spots in the first look's foreground."""

LOOK_REACH = 2.0
"""Half widths of the mosaic model from the Ewald sphere, in the first look."""

N_FOR_NOISE = 50
"""Background pixels that a reflection needs to take part in measuring the readout noise."""


@dataclass(frozen=True)
class Shot:
    """One frame and how it was taken.

    Attributes
    ----------
    frame : (slow, fast) pixels [ADU]
    good : (slow, fast) pixels that may be used
    detector, beam : the geometry
    spot_radius_px : radius that holds the shot's spots, scatter about predictions included [pixel]
    gain_adu : median gain of the panels [ADU a photon]
    """

    frame: NDArray[np.generic]
    good: Mask
    detector: Detector
    beam: Beam
    spot_radius_px: float
    gain_adu: float = 1.0


@dataclass(frozen=True)
class Integrated:
    """Reflections of all lattices of a shot.

    Attributes
    ----------
    lattice : (n,) which of the shot's lattices
    found : (n,) what was predicted
    sums : (n,) what the pixels gave
    mosaics : mosaic model of each lattice, as it was used
    limits_ang : resolution limit of each lattice [Angstrom]
    is_fitted : the profile fit is of a profile learnt from this shot
    """

    lattice: IntArray
    found: Predictions
    sums: Sums
    mosaics: list[Mosaic]
    limits_ang: list[float]
    is_fitted: bool


def integrate_shot(
    shot: Shot,
    lattices: Sequence[Lattice],
    d_spots_ang: Sequence[float],
    settings: IntegrateSettings,
) -> Integrated:
    """Return the reflections of all lattices of a shot.

    A first look, with a generous foreground, width and resolution, shows the size of the spots,
    their profile, how far from the Ewald sphere they reach and at which resolution they end; then
    they are integrated.

    Parameters
    ----------
    shot, lattices : the frame and what lies in it
    d_spots_ang : resolution of each lattice's outermost indexed spots; 0: unknown
    settings : how to do it
    """
    limits = [_search_limit_ang(shot, d_ang, settings) for d_ang in d_spots_ang]
    lattice, found = _predict_all(shot, lattices, limits)
    mosaics = [item.mosaic for item in lattices]
    if not len(found):
        return Integrated(lattice, found, Sums.empty(), mosaics, limits, is_fitted=False)
    mosaicity_deg = float(np.mean([mosaic.mosaicity_deg for mosaic in mosaics]))
    look = _Look.first(shot, found, mosaicity_deg, settings)
    if settings.refine_width:
        mosaics = look.refined(lattice, mosaics, settings)
    distance = _distance(found, lattice, mosaics)
    if settings.d_min_ang == 0.0:
        limits = look.limits_ang(lattice, distance, d_spots_ang, settings)
    kept = found.q_length_invang <= 1.0 / np.array(limits)[lattice]
    kept &= distance <= settings.reach
    sums, is_fitted = look.integrate(kept, settings)
    return Integrated(lattice[kept], found.take(kept), sums, mosaics, limits, is_fitted)


def readout_of(detector: Detector, gain_adu: float) -> Readout:
    """Return how to read frames, readout noise not known yet.

    The panels' gains are scaled so that their median is `gain_adu` [ADU a photon].
    """
    panels = detector.panels
    slabs = [panel.slab for panel in panels]
    gains = np.array([panel.gain for panel in panels])
    return Readout(
        np.array([[slow.start, slow.stop, fast.start, fast.stop] for slow, fast in slabs]),
        np.median(gains) / (gains * gain_adu),
        np.array([panel.trusted[0] for panel in panels], dtype=float),
        np.array([panel.trusted[1] for panel in panels], dtype=float),
    )


def _search_limit_ang(shot: Shot, d_spots_ang: float, settings: IntegrateSettings) -> float:
    """Return the resolution to which a lattice is looked at: the user's, or past its last spots."""
    if settings.d_min_ang > 0.0:
        return settings.d_min_ang
    sizes = shot.detector.sizes
    panel = np.repeat(np.arange(len(sizes)), 4)
    corners = sizes[panel] * np.tile([[0, 0], [0, 1], [1, 0], [1, 1]], (len(sizes), 1))
    fast, slow = corners.T.astype(float)
    s1 = shot.detector.s1(panel, fast, slow, shot.beam.wavelength_ang)
    d_corner = 1.0 / float(np.linalg.norm(s1 - shot.beam.s0, axis=1).max())
    return max(d_corner, d_spots_ang / LOOK_BEYOND)


def _predict_all(
    shot: Shot, lattices: Sequence[Lattice], limits: Sequence[float]
) -> tuple[IntArray, Predictions]:
    """Return the number of the lattice and the prediction of each reflection."""
    parts = [
        predict(lattice, shot.detector, shot.beam, limit, LOOK_REACH)
        for lattice, limit in zip(lattices, limits, strict=True)
    ]
    numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return numbers, Predictions.concatenate(parts)


def _distance(found: Predictions, lattice: IntArray, mosaics: Sequence[Mosaic]) -> Array:
    """Return the distance (n,) of reflections from the Ewald sphere in half widths."""
    result = np.empty(len(found))
    for number, mosaic in enumerate(mosaics):
        own = lattice == number
        width = mosaic.half_width_invang(found.q_length_invang[own])
        result[own] = np.abs(found.excitation_invang[own]) / width
    return result


def is_clean(sums: Sums) -> Mask:
    """Return which reflections have a whole foreground of their own and a background."""
    wrong = sums.n_masked + sums.n_outside + sums.n_saturated + sums.n_shared
    return np.asarray((wrong == 0) & (sums.n_foreground > 0) & (sums.n_background > 0))


@dataclass(frozen=True)
class _Look:
    """The first look at a shot and what it shows.

    Attributes
    ----------
    shot, found : the frame and the predictions
    frames, shape : directions and size of spots; the size measured where enough spots are strong
    windows, sums : of the first look
    readout : how to read the frame, readout noise measured
    strong : (n,) which reflections show the shot's size and profile of spots
    """

    shot: Shot
    found: Predictions
    frames: Frames
    shape: SpotShape
    windows: Windows
    sums: Sums
    readout: Readout
    strong: IntArray

    @classmethod
    def first(
        cls, shot: Shot, found: Predictions, mosaicity_deg: float, settings: IntegrateSettings
    ) -> "_Look":
        """Integrate with the size that the spots suggest, and measure."""
        shape = SpotShape.expected(shot.spot_radius_px / FIRST_SIGMAS, mosaicity_deg)
        frames = Frames.of(found, shot.detector, shot.beam)
        half_axes = shape.half_axes_px(frames.throw_px, FIRST_SIGMAS, settings.radii_px)
        windows = _place(shot.detector, found, frames, half_axes, settings)
        readout = readout_of(shot.detector, shot.gain_adu)
        recipe = Recipe(gaussian_profile(FIRST_SIGMAS), settings.guard, settings.outlier_sigmas)
        sums = integrate(shot.frame, shot.good, windows, readout, recipe)
        readout = replace(readout, variance=_noise_variance(sums))
        is_strong = sums.i_over_sigma >= settings.strong_i_over_sigma
        strong = np.flatnonzero(is_clean(sums) & is_strong)
        if len(strong) >= settings.min_strong:
            moments = np.column_stack([sums.square_uu, sums.square_vv])[strong]
            shape = measure_shape(moments * half_axes[strong] ** 2, frames.throw_px[strong], shape)
        return cls(shot, found, frames, shape, windows, sums, readout, strong)

    def refined(
        self, lattice: IntArray, mosaics: Sequence[Mosaic], settings: IntegrateSettings
    ) -> list[Mosaic]:
        """Return the mosaic models with the width that the reflections show."""
        distance = _distance(self.found, lattice, mosaics)
        d_ang = 1.0 / self.found.q_length_invang
        result = []
        for number, mosaic in enumerate(mosaics):
            own = is_clean(self.sums) & (lattice == number)
            intensity, variance = self.sums.intensity_sum[own], self.sums.variance_sum[own]
            factor = width_scale(distance[own], intensity, variance, d_ang[own], settings.falloff)
            result.append(mosaic.scaled(factor))
        return result

    def limits_ang(
        self,
        lattice: IntArray,
        distance: Array,
        d_spots_ang: Sequence[float],
        settings: IntegrateSettings,
    ) -> list[float]:
        """Return the resolution limit of each lattice, margin included."""
        i_over_sigma = self.sums.i_over_sigma
        d_ang = 1.0 / self.found.q_length_invang
        clean = is_clean(self.sums) & (distance <= 1.0)
        limits = []
        for number, d_spots in enumerate(d_spots_ang):
            own = clean & (lattice == number)
            least = settings.min_mean_i_over_sigma
            limit = resolution_limit_ang(d_ang[own], i_over_sigma[own], least, d_spots)
            limits.append(limit / settings.resolution_margin)
        return limits

    def integrate(self, kept: Mask, settings: IntegrateSettings) -> tuple[Sums, bool]:
        """Return the sums of the reflections that are kept, and whether their profile is learnt."""
        half_axes = self.shape.half_axes_px(
            self.frames.throw_px, settings.foreground_sigmas, settings.radii_px
        )
        windows = _place(self.shot.detector, self.found, self.frames, half_axes, settings)
        profile = self._profile(windows, settings)
        shown = gaussian_profile(settings.foreground_sigmas) if profile is None else profile
        recipe = Recipe(shown, settings.guard, settings.outlier_sigmas)
        windows = windows.take(kept)
        sums = integrate(self.shot.frame, self.shot.good, windows, self.readout, recipe)
        return sums, profile is not None

    def _profile(self, windows: Windows, settings: IntegrateSettings) -> Array | None:
        """Return the profile that the strong spots show in `windows`; None if too few do."""
        if not settings.fit_profiles or len(self.strong) < settings.min_strong:
            return None
        spots = StrongSpots.gather(
            self.shot.frame,
            self.shot.good,
            windows.take(self.strong),
            self.sums.take(self.strong),
            self.readout,
        )
        return learn_profile(spots)


def _place(
    detector: Detector,
    found: Predictions,
    frames: Frames,
    half_axes_px: Array,
    settings: IntegrateSettings,
) -> Windows:
    """Return windows about the predictions with foregrounds of the given half axes (n, 2)."""
    reach = np.ceil(half_axes_px.max(axis=1) * settings.guard) + settings.background_width_px
    return Windows(
        found.panel,
        np.column_stack(detector.slab_pixels(found.panel, found.fast_px, found.slow_px)),
        frames.directions / half_axes_px[:, :, None],
        np.minimum(reach, MAX_HALF_PX).astype(np.int64),
    )


def _noise_variance(sums: Sums) -> float:
    """Return the variance of background pixels beyond that of counting [photon^2]."""
    told = sums.n_background >= N_FOR_NOISE
    if not told.any():
        return 0.0
    beyond = sums.background_variance[told] - np.maximum(sums.background[told], 0.0)
    return max(0.0, float(np.median(beyond)))
