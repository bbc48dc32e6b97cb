"""Write the truth beside a simulated run."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from xfel_apps.simulate.shot import Experiment, ShotTruth

FRAME = (
    "lab frame of dxtbx (imgCIF): s0 = (0, 0, -1) / wavelength; q = A h in 1/Angstrom; "
    "columns of A are a*, b*, c*; NaN on blanks"
)


def write_truth(path: Path, experiment: Experiment, shots: Sequence[ShotTruth]) -> None:
    """Write what was drawn for every shot, and the structure factors.

    Datasets: `A` (n, 3, 3) of the first crystal, `A_all` (n, crystals, 3, 3), `cell` (n, 6), `wl`
    [Angstrom], `kind` (hit, weak, blank), `hit`, `scale`, `water`, `spectrum_ang` and
    `spectrum_weights` (n, wavelengths), `domains` (n, crystals, n_domains, 3, 3); `F_hkl`, `I_true`
    (the mean of the Friedel mates) and its root `F_true`, `F_plus` and `F_minus` of the mates.
    """
    factors = experiment.factors
    with h5py.File(path.with_name(f".{path.name}.part"), "w") as file:
        file.attrs["frame"] = FRAME
        file.attrs["space_group"] = factors.space_group.xhm().replace(" ", "")
        file.attrs["base_cell"] = np.array(factors.cell.parameters)
        file.attrs["params"] = experiment.settings.canonical()
        file["A_all"] = np.array([shot.a_matrices for shot in shots])
        file["A"] = file["A_all"][:, 0]
        file["cell"] = np.array([shot.cell for shot in shots])
        file["wl"] = np.array([shot.wavelength_ang for shot in shots])
        file["kind"] = np.array([shot.kind for shot in shots], dtype="S5")
        file["hit"] = np.array([shot.kind == "hit" for shot in shots])
        file["scale"] = np.array([shot.scale for shot in shots])
        file["water"] = np.array([shot.water for shot in shots])
        file["spectrum_ang"] = np.array([shot.wavelengths_ang for shot in shots])
        file["spectrum_weights"] = np.array([shot.weights for shot in shots])
        file["domains"] = np.array([shot.domains for shot in shots])
        file["F_hkl"] = factors.hkl
        file["F_plus"], file["F_minus"] = factors.plus, factors.minus
        file["F_true"] = factors.amplitudes
        file["I_true"] = factors.amplitudes**2
    path.with_name(f".{path.name}.part").replace(path)
