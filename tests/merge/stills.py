"""Stills of crystals in known orientations, at the level of reflections."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np
from scipy.spatial.transform import Rotation

from benchmarks.merge_data import Lattice
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.stills import excitation_error_invang

WAVELENGTH_ANG = 1.3
GROUP = gemmi.SpaceGroup("P 43 21 2")
CELL = gemmi.UnitCell(79.2, 79.2, 38.0, 90, 90, 90)


@dataclass(frozen=True)
class Stills:
    """Stills of crystals whose orientations are known only to an error.

    Attributes
    ----------
    n_crystals, d_min_ang : how many, and to which resolution
    sd_tilt_mrad : error of the orientation about each of lab x and y, as integrated
    mosaic, assumed : of all crystals, and what they were integrated with (None: the same)
    level, noise : mean intensity at low resolution [photon], variance of the background [photon^2]
    anomalous : spread of the relative differences of Friedel mates
    """

    n_crystals: int = 80
    d_min_ang: float = 4.0
    sd_tilt_mrad: float = 0.7
    mosaic: Mosaic = Mosaic(0.05, 1500.0)  # noqa: RUF009 - frozen
    assumed: Mosaic | None = None
    level: float = 2000.0
    noise: float = 100.0
    anomalous: float = 0.0
    seed: int = 5

    @cached_property
    def unique(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the unique Miller indices and the true intensities of them and their mates."""
        hkl = gemmi.make_miller_array(CELL, GROUP, self.d_min_ang, 1000.0, True)
        rng = np.random.default_rng(self.seed)
        fall_off = np.exp(-5.0 / CELL.calculate_d_array(hkl) ** 2)
        mean = self.level * fall_off * rng.exponential(size=len(hkl))
        centric = np.array([GROUP.operations().is_reflection_centric(h) for h in hkl.tolist()])
        difference = np.where(centric, 0.0, self.anomalous * rng.normal(size=len(hkl)))
        difference = np.clip(difference, -0.9, 0.9)
        return hkl, mean * (1 + difference), mean * (1 - difference)

    @cached_property
    def tilts_mrad(self) -> np.ndarray:
        """Return the turns (n, 2) about x and y that put the crystals right."""
        rng = np.random.default_rng(self.seed + 1)
        return rng.normal(0, self.sd_tilt_mrad, (self.n_crystals, 2))

    def lattices(self) -> Iterator[tuple[int, Lattice]]:
        """Yield (event, lattice) of all crystals."""
        rng = np.random.default_rng(self.seed + 2)
        everywhere, intensity = self._sphere()
        orth = np.linalg.inv(np.array(CELL.orth.mat.tolist())).T
        s0 = np.array([0, 0, -1 / WAVELENGTH_ANG])
        assumed = self.assumed or self.mosaic
        for event in range(self.n_crystals):
            true = Rotation.random(random_state=rng.integers(1 << 30)).as_matrix() @ orth
            turn = Rotation.from_rotvec([*(1e-3 * self.tilts_mrad[event]), 0.0]).as_matrix()
            a_matrix = turn.T @ true
            q = everywhere @ a_matrix.T
            size = np.linalg.norm(q, axis=1)
            away = excitation_error_invang(q, s0)
            near = np.abs(away) < 1.4 * assumed.half_width_invang(size)
            exact = excitation_error_invang(everywhere[near] @ true.T, s0)
            recorded = self.mosaic.partiality(exact, size[near])
            scale = np.exp(rng.normal(0, 0.5))
            wide = self.mosaic.half_width_invang(size[near]) * self.mosaic.block_size_ang
            counted = rng.poisson(scale * recorded * intensity[near] / (2.0 * wide))
            columns = {
                **dict(zip("hkl", everywhere[near].T, strict=True)),
                "d_ang": 1 / size[near],
                "intensity": counted + rng.normal(0, np.sqrt(self.noise), near.sum()),
                "sigma": np.sqrt(counted + self.noise),
                "excitation_invang": away[near],
                "partiality": assumed.partiality(away[near], size[near]),
            }
            yield (
                event,
                Lattice(
                    a_matrix,
                    WAVELENGTH_ANG,
                    GROUP.hm,
                    columns,
                    f"still:{event}",
                    assumed.mosaicity_deg,
                    assumed.block_size_ang,
                ),
            )

    def _sphere(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all Miller indices within the resolution, and their intensities."""
        hkl, plus, minus = self.unique
        rotations = [np.array(op.rot) // 24 for op in GROUP.operations().sym_ops]
        indices = [sign * hkl @ rotation for rotation in rotations for sign in (1, -1)]
        values = [mate for _ in rotations for mate in (plus, minus)]
        whole, first = np.unique(np.concatenate(indices), axis=0, return_index=True)
        return whole, np.concatenate(values)[first]
