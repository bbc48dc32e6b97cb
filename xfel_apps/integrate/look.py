"""The first look at a shot: a generous foreground, width and resolution, and what they show."""

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
from xfel_apps.integrate.width import Seen, WidthFit, fit_width

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

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
class Predicted:
    """Reflections of all lattices of a shot.

    Attributes
    ----------
    lattice : (n,) which of the shot's lattices
    found : (n,) the predictions
    """

    lattice: IntArray
    found: Predictions

    @classmethod
    def of(
        cls, shot: Shot, lattices: Sequence[Lattice], limits_ang: Sequence[float]
    ) -> "Predicted":
        """Return what lattices show to their resolution limits [Angstrom]."""
        parts = [
            predict(lattice, shot.detector, shot.beam, limit, LOOK_REACH)
            for lattice, limit in zip(lattices, limits_ang, strict=True)
        ]
        numbers = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return cls(numbers, Predictions.concatenate(parts))

    def take(self, rows: Mask) -> "Predicted":
        """Return some of the reflections."""
        return Predicted(self.lattice[rows], self.found.take(rows))

    def distance(self, mosaics: Sequence[Mosaic]) -> Array:
        """Return the distance (n,) from the Ewald sphere in half widths of the lattices' models."""
        result = np.empty(len(self.found))
        for number, mosaic in enumerate(mosaics):
            own = self.lattice == number
            width = mosaic.half_width_invang(self.found.q_length_invang[own])
            result[own] = np.abs(self.found.excitation_invang[own]) / width
        return result


def is_clean(sums: Sums) -> Mask:
    """Return which reflections have a whole foreground of their own and a background."""
    wrong = sums.n_masked + sums.n_outside + sums.n_saturated + sums.n_shared
    return np.asarray((wrong == 0) & (sums.n_foreground > 0) & (sums.n_background > 0))


@dataclass(frozen=True)
class Look:
    """The first look at a shot and what it shows.

    Attributes
    ----------
    shot, predicted : the frame and the predictions
    frames, shape : directions and size of spots; the size measured where enough spots are strong
    sums : of the first look
    readout : how to read the frame, readout noise measured
    strong : (n,) which reflections show the shot's size and profile of spots
    """

    shot: Shot
    predicted: Predicted
    frames: Frames
    shape: SpotShape
    sums: Sums
    readout: Readout
    strong: IntArray

    @classmethod
    def first(
        cls, shot: Shot, predicted: Predicted, mosaicity_deg: float, settings: IntegrateSettings
    ) -> "Look":
        """Integrate with the size that the spots suggest, and measure."""
        shape = SpotShape.expected(shot.spot_radius_px / FIRST_SIGMAS, mosaicity_deg)
        frames = Frames.of(predicted.found, shot.detector, shot.beam)
        half_axes = shape.half_axes_px(frames.throw_px, FIRST_SIGMAS, settings.radii_px)
        windows = _place(shot.detector, predicted.found, frames, half_axes, settings)
        readout = readout_of(shot.detector, shot.gain_adu)
        recipe = Recipe(gaussian_profile(FIRST_SIGMAS), settings.guard, settings.outlier_sigmas)
        sums = integrate(shot.frame, shot.good, windows, readout, recipe)
        readout = replace(readout, variance=_noise_variance(sums))
        is_strong = sums.i_over_sigma >= settings.strong_i_over_sigma
        strong = np.flatnonzero(is_clean(sums) & is_strong)
        if len(strong) >= settings.min_strong:
            moments = np.column_stack([sums.square_uu, sums.square_vv])[strong]
            shape = measure_shape(moments * half_axes[strong] ** 2, frames.throw_px[strong], shape)
        return cls(shot, predicted, frames, shape, sums, readout, strong)

    def widths(self, expected: Sequence[Mosaic], settings: IntegrateSettings) -> list[WidthFit]:
        """Return the mosaic models that the lattices' reflections show."""
        found, clean = self.predicted.found, is_clean(self.sums)
        seen = Seen(
            found.excitation_invang,
            found.q_length_invang,
            self.sums.intensity_sum,
            self.sums.variance_sum,
            np.ones(len(found)),
        )
        rows = [clean & (self.predicted.lattice == number) for number in range(len(expected))]
        return [
            fit_width(seen.take(own), mosaic, settings.falloff)
            for own, mosaic in zip(rows, expected, strict=True)
        ]

    def limits_ang(
        self, distance: Array, d_spots_ang: Sequence[float], settings: IntegrateSettings
    ) -> list[float]:
        """Return the resolution limit of each lattice, margin included."""
        i_over_sigma = self.sums.i_over_sigma
        d_ang = 1.0 / self.predicted.found.q_length_invang
        clean = is_clean(self.sums) & (distance <= 1.0)
        limits = []
        for number, d_spots in enumerate(d_spots_ang):
            own = clean & (self.predicted.lattice == number)
            least = settings.min_mean_i_over_sigma
            limit = resolution_limit_ang(d_ang[own], i_over_sigma[own], least, d_spots)
            limits.append(limit / settings.resolution_margin)
        return limits

    def integrate(self, kept: Mask, settings: IntegrateSettings) -> tuple[Sums, bool]:
        """Return the sums of the reflections that are kept, and whether their profile is learnt."""
        half_axes = self.shape.half_axes_px(
            self.frames.throw_px, settings.foreground_sigmas, settings.radii_px
        )
        windows = _place(self.shot.detector, self.predicted.found, self.frames, half_axes, settings)
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
