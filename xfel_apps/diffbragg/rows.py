"""Rows of the product `refined` from refined lattices."""

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.refined import Pixels, PredictedSpots, RefinedCrystals
from xfel_apps.diffbragg.judge import Agreement
from xfel_apps.diffbragg.lattice import Refined
from xfel_apps.pixel_model.cell import free_parameters

Array = NDArray[np.float64]


def crystal_rows(
    number: int, refined: Refined, before: Agreement, after: Agreement, **given: object
) -> RefinedCrystals:
    """Return the row of a lattice; `given`: shot_id, mode."""
    crystal, shot = refined.after.state.crystal, refined.shot
    turn, cell = standard_errors(refined)
    columns = {
        "lattice": number,
        "a_matrix": crystal.a_matrix,
        "cell": crystal.cell,
        "space_group": crystal.space_group.encode(),
        "wavelength_ang": shot.beam.wavelength_ang,
        "n_cells": crystal.n_cells,
        "spread_deg": crystal.spread_deg,
        "bandwidth": crystal.bandwidth,
        "scale": crystal.scale,
        "turn_sigma_deg": turn,
        "cell_sigma": cell,
        "n_boxes": len(shot),
        "n_pixels": int(np.isfinite(shot.observed).sum()),
        "n_steps": refined.after.n_steps,
        "misfit_before": float(refined.misfit_before.sum()),
        "misfit_after": float(refined.after.misfit.sum()),
        "sigma_z_before": before.sigma_z,
        "sigma_z_after": after.sigma_z,
        "offset_px_before": before.offset_px,
        "offset_px_after": after.offset_px,
        **given,
    }
    return RefinedCrystals.make(**{name: [value] for name, value in columns.items()})


def standard_errors(refined: Refined) -> tuple[Array, Array]:
    """Return those of the turns about x, y, z (3,) [degree] and of the cell (6,)."""
    crystal = refined.after.state.crystal
    names = refined.parameters.names(crystal)
    curvature = refined.after.curvature
    scale = 1.0 / np.sqrt(np.maximum(curvature.diagonal(), 1e-300))
    covariance = np.linalg.pinv(curvature * np.outer(scale, scale)) * np.outer(scale, scale)
    sigma = dict(zip(names, np.sqrt(np.maximum(covariance.diagonal(), 0.0)), strict=True))
    free = free_parameters(crystal.space_group)
    cell = free @ np.array([sigma[f"cell_{i}"] for i in range(free.shape[1])])
    return np.degrees([sigma[f"turn_{axis}_rad"] for axis in "xyz"]), cell


def spot_rows(number: int, refined: Refined, found: Agreement) -> PredictedSpots:
    """Return the rows of a lattice's predicted spots."""
    boxes, shot, state = refined.boxes, refined.shot, refined.after.state
    h, k, l = shot.hkl.T  # noqa: E741 - Miller indices
    place = boxes.start + found.centroid_px
    return PredictedSpots.make(
        lattice=np.full(len(boxes), number),
        h=h,
        k=k,
        l=l,
        panel=boxes.found.panel,
        fast_px=place[:, 0],
        slow_px=place[:, 1],
        d_ang=1.0 / np.linalg.norm(shot.hkl @ state.crystal.a_matrix.T, axis=1),
        start_fast=boxes.start[:, 0],
        start_slow=boxes.start[:, 1],
        n_fast=boxes.size[:, 0],
        n_slow=boxes.size[:, 1],
        photons=found.spot_photons,
        photons_expected=found.spot_photons * np.exp(-state.ln_intensity),
        intensity=shot.intensity,
        ln_sigma=shot.ln_sigma,
        ln_intensity=state.ln_intensity,
        background=state.background[:, 0],
        slope_fast=state.background[:, 1],
        slope_slow=state.background[:, 2],
        misfit=refined.after.misfit,
    )


def pixel_rows(refined: Refined) -> Pixels:
    """Return the pixels of a lattice's boxes."""
    return Pixels.make(photons=refined.shot.observed)
