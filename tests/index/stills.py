"""Stills whose lattice is known: spots of lattice points near the Ewald sphere, with errors."""

from dataclasses import dataclass

import numpy as np

from xfel_apps.index.refine import ShotSpots
from xfel_apps.index.target import TargetLattice

WAVELENGTH_ANG = 1.3
PIXEL_INVANG = 0.1 / 80.0 / WAVELENGTH_ANG
S0 = np.array([0.0, 0.0, -1.0 / WAVELENGTH_ANG])


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@dataclass(frozen=True)
class Errors:
    """Of the spots: excitation, centroid, share of lattice points that are strong, alien spots."""

    excitation_invang: float = 0.0003
    position_px: float = 0.2
    observed: float = 0.3
    n_alien: int = 0


def still(
    a_matrix: np.ndarray,
    target: TargetLattice,
    rng: np.random.Generator,
    errors: Errors = Errors(),
    d_min_ang: float = 3.0,
) -> ShotSpots:
    """Return the spots of one still of the lattice A (conventional cell)."""
    s1 = _reflections(a_matrix, target, rng, errors, d_min_ang)
    s1 = s1 + rng.normal(size=s1.shape) * errors.position_px * PIXEL_INVANG
    alien = _scattered(rng, errors.n_alien, d_min_ang)
    s1 = np.concatenate([s1, alien])
    s1 /= np.linalg.norm(s1, axis=1, keepdims=True) * WAVELENGTH_ANG
    s1 = s1[rng.permutation(len(s1))]
    return ShotSpots(S0, s1, np.full(len(s1), errors.position_px * PIXEL_INVANG), PIXEL_INVANG)


def _reflections(
    a_matrix: np.ndarray,
    target: TargetLattice,
    rng: np.random.Generator,
    errors: Errors,
    d_min_ang: float,
) -> np.ndarray:
    reach = np.ceil(np.linalg.norm(np.linalg.inv(a_matrix), axis=1) / d_min_ang).astype(int)
    grids = [np.arange(-n, n + 1) for n in reach]
    hkl = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, 3)
    hkl = hkl[target.present(hkl) & np.any(hkl != 0, axis=1)]
    q = hkl @ a_matrix.T
    s1 = q[np.linalg.norm(q, axis=1) < 1.0 / d_min_ang] + S0
    off = np.linalg.norm(s1, axis=1) - 1.0 / WAVELENGTH_ANG
    chance = np.exp(-0.5 * (off / errors.excitation_invang) ** 2) * errors.observed
    return s1[rng.uniform(size=len(s1)) < chance]


def _scattered(rng: np.random.Generator, n: int, d_min_ang: float) -> np.ndarray:
    """Return n rays in all directions that the detector sees."""
    sin_theta = WAVELENGTH_ANG / (2.0 * d_min_ang)
    two_theta = 2.0 * np.arcsin(sin_theta * np.sqrt(rng.uniform(0.01, 1.0, n)))
    azimuth = rng.uniform(0, 2 * np.pi, n)
    radius = np.sin(two_theta)
    return np.column_stack([radius * np.cos(azimuth), radius * np.sin(azimuth), -np.cos(two_theta)])
