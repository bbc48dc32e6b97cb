"""The first look at a shot: a generous foreground, width and resolution, and what they show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import Readout, Recipe, Sums, integrate
from xfel_apps.geometry import Detector
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.integrate.layout import Layout
from xfel_apps.integrate.limit import resolution_limit_ang
from xfel_apps.integrate.predicted import Predicted, Shot
from xfel_apps.integrate.profile import StrongSpots, gaussian_profile, learn_profile
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.width import Seen, WidthFit, fit_width

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
Mask = NDArray[np.bool_]

FIRST_SIGMAS = 2.0
"""Standard deviations of the expected spots in the first look's foreground."""

N_SETTLE = 3
"""Times that strong spots are looked at again, each time with the layout they showed before."""

WHOLE_SHARE = 0.8
"""Share of a spot that must lie on pixels of its own for it to show where spots are."""

N_FOR_NOISE = 50
"""Background pixels that a reflection needs to take part in measuring the readout noise."""


def is_clean(sums: Sums) -> Mask:
    """Return which reflections have a whole foreground of their own and a background."""
    wrong = sums.n_masked + sums.n_outside + sums.n_saturated + sums.n_shared
    return np.asarray((wrong == 0) & (sums.n_foreground > 0) & (sums.n_background > 0))


def _is_whole(sums: Sums) -> Mask:
    """Return which reflections have most of a spot on pixels of their own, and a background."""
    return np.asarray(
        (sums.share >= WHOLE_SHARE) & (sums.n_saturated == 0) & (sums.n_background > 0)
    )


@dataclass(frozen=True)
class Look:
    """The first look at a shot and what it shows.

    Attributes
    ----------
    shot, predicted : the frame and the predictions
    layout : where spots lie and how large they are; measured where enough of them are strong
    sums : of the first look
    readout : how to read the frame, readout noise measured
    strong : (n,) which reflections show the shot's layout and profile of spots
    """

    shot: Shot
    predicted: Predicted
    layout: Layout
    sums: Sums
    readout: Readout
    strong: IntArray

    @classmethod
    def first(
        cls, shot: Shot, predicted: Predicted, expected: Layout, settings: IntegrateSettings
    ) -> "Look":
        """Integrate with the expected layout of the spots, and measure theirs."""
        windows = expected.windows(shot.detector, predicted, FIRST_SIGMAS, settings)
        readout = readout_of(shot.detector, shot.gain_adu)
        sums = integrate(
            shot.frame, shot.good, windows, readout, _plain_recipe(FIRST_SIGMAS, settings)
        )
        readout = replace(readout, variance=_noise_variance(sums))
        is_strong = sums.i_over_sigma >= settings.strong_i_over_sigma
        strong = np.flatnonzero(_is_whole(sums) & is_strong)
        look = cls(shot, predicted, expected, sums, readout, strong)
        if len(strong) < settings.min_strong:
            return look
        layout = expected.corrected(predicted.take(strong), windows.take(strong), sums.take(strong))
        return replace(look, layout=look._settled(layout, settings))

    def _settled(self, layout: Layout, settings: IntegrateSettings) -> Layout:
        """Return the layout that strong spots show when looked at with their own."""
        shot, strong = self.shot, self.predicted.take(self.strong)
        recipe = _plain_recipe(settings.foreground_sigmas, settings)
        for _ in range(N_SETTLE):
            windows = layout.windows(shot.detector, strong, settings.foreground_sigmas, settings)
            sums = integrate(shot.frame, shot.good, windows, self.readout, recipe)
            layout = layout.corrected(strong, windows, sums)
        return layout

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

    def integrate(self, kept: Predicted, settings: IntegrateSettings) -> tuple[Sums, bool]:
        """Return the sums of reflections of the lattices, and whether their profile is learnt."""
        shot, sigmas = self.shot, settings.foreground_sigmas
        profile = self._profile(settings)
        recipe = _plain_recipe(sigmas, settings)
        if profile is not None:
            recipe = replace(recipe, profile=profile)
        windows = self.layout.windows(shot.detector, kept, sigmas, settings)
        sums = integrate(shot.frame, shot.good, windows, self.readout, recipe)
        return sums, profile is not None

    def _profile(self, settings: IntegrateSettings) -> Array | None:
        """Return the profile that the strong spots show; None if too few do."""
        if not settings.fit_profiles or len(self.strong) < settings.min_strong:
            return None
        shot, strong, sigmas = (
            self.shot,
            self.predicted.take(self.strong),
            settings.foreground_sigmas,
        )
        windows = self.layout.windows(shot.detector, strong, sigmas, settings)
        sums = integrate(
            shot.frame, shot.good, windows, self.readout, _plain_recipe(sigmas, settings)
        )
        return learn_profile(StrongSpots.gather(shot.frame, shot.good, windows, sums, self.readout))


def _plain_recipe(sigmas: float, settings: IntegrateSettings) -> Recipe:
    """Return how to integrate where no profile is known."""
    return Recipe(gaussian_profile(sigmas), settings.guard, settings.outlier_sigmas)


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


def _noise_variance(sums: Sums) -> float:
    """Return the variance of background pixels beyond that of counting [photon^2]."""
    told = sums.n_background >= N_FOR_NOISE
    if not told.any():
        return 0.0
    beyond = sums.background_variance[told] - np.maximum(sums.background[told], 0.0)
    return max(0.0, float(np.median(beyond)))
