"""Rows of the product `reflections` from what was integrated."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.integration import Sums
from xfel_apps.containers.crystals import Crystals
from xfel_apps.containers.reflections import (
    IntegratedCrystals,
    MosaicFits,
    ReflectionFlag,
    Reflections,
)
from xfel_apps.geometry import Beam
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import Integrated

Array = NDArray[np.float64]

MAX_REJECTED = 0.3
"""A background of which a larger share was rejected is flagged."""


def flags_of(sums: Sums, settings: IntegrateSettings) -> NDArray[np.uint8]:
    """Return the flags (n,) of reflections: bits of `ReflectionFlag`.

    Overlap, mask and edge count where they take more of the spot than is allowed.
    """
    few = sums.n_background < settings.min_background_pixels
    part = sums.share < settings.min_share
    uneven = sums.n_rejected > MAX_REJECTED * (sums.n_background + sums.n_rejected)
    found = {
        ReflectionFlag.OVERLAP: part & (sums.n_shared > 0),
        ReflectionFlag.SATURATED: sums.n_saturated > 0,
        ReflectionFlag.MASKED: part & (sums.n_masked > 0),
        ReflectionFlag.EDGE: part & (sums.n_outside > 0),
        ReflectionFlag.BACKGROUND: few | uneven,
    }
    result = np.zeros(len(sums.n_background), dtype=np.uint8)
    for flag, rows in found.items():
        result[rows] |= int(flag)
    return result


def best_estimate(done: Integrated) -> tuple[Array, Array]:
    """Return intensity and variance (n,): of the profile fit where it is the more certain."""
    sums = done.sums
    fitted = (sums.variance_profile < sums.variance_sum) & done.is_fitted
    intensity = np.where(fitted, sums.intensity_profile, sums.intensity_sum)
    return intensity, np.where(fitted, sums.variance_profile, sums.variance_sum)


def reflection_rows(done: Integrated, beam: Beam, settings: IntegrateSettings) -> Reflections:
    """Return the rows of `reflections` of one shot."""
    found, sums = done.found, done.sums
    intensity, variance = best_estimate(done)
    h, k, l = found.hkl.T  # noqa: E741 - Miller indices
    return Reflections.make(
        lattice=done.lattice,
        h=h,
        k=k,
        l=l,
        panel=found.panel,
        fast_px=found.fast_px,
        slow_px=found.slow_px,
        d_ang=1.0 / found.q_length_invang,
        intensity=intensity,
        sigma=np.sqrt(variance),
        intensity_sum=sums.intensity_sum,
        sigma_sum=np.sqrt(sums.variance_sum),
        background=sums.background,
        excitation_invang=found.excitation_invang,
        partiality=done.partiality,
        polarization=beam.polarization(found.s1),
        flags=flags_of(sums, settings),
    )


def crystal_rows(crystals: Crystals, done: Integrated, shot_id: str) -> IntegratedCrystals:
    """Return the shot's lattices with what was integrated of each."""
    columns = crystals.columns()
    columns["d_min_ang"] = np.array(done.limits_ang, dtype=np.float32)
    columns["mosaicity_deg"] = np.array([mosaic.mosaicity_deg for mosaic in done.mosaics])
    columns["block_size_ang"] = np.array([mosaic.block_size_ang for mosaic in done.mosaics])
    n = np.bincount(done.lattice, minlength=len(crystals))
    return IntegratedCrystals.make(
        **columns, n_reflections=n, shot_id=[shot_id.encode()] * len(crystals)
    )


def mosaic_rows(done: Integrated) -> MosaicFits:
    """Return what the shot's reflections say of its lattices' mosaic models."""
    return MosaicFits.make(
        lattice=np.arange(len(done.widths)),
        mosaicity_deg=[fit.mosaic.mosaicity_deg for fit in done.widths],
        block_size_ang=[fit.mosaic.block_size_ang for fit in done.widths],
        log_likelihood=[fit.log_likelihood for fit in done.widths],
    )
