"""Merged intensities beside the truth: subsets, shells, and whether sigmas are right."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from xfel_apps.compare.intensities import agreement, by_index, correlation, shell_limits
from xfel_apps.compare.truth import LatticeScore, Truth, score_lattices
from xfel_apps.intensities.agreement import correlation as between
from xfel_apps.intensities.agreement import r_split
from xfel_apps.merge.crystals import A_MATRIX
from xfel_apps.merge.modulation import amplitudes
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

Array = NDArray[np.float64]

STRICT = (0.36, 0.39)
"""Shares of the unique reflections that the peers' best merges keep (2,077 and 2,265 of 5,740)."""
UNSCALED = {
    "scaling": "none",
    "partiality": "unity",
    "error_model": "none",
    "min_correlation": -1.0,
    "min_log_odds": -1e9,
    "max_deviation_sigma": 1e9,
    "max_relative_sigma": 1e9,
}
"""Settings that leave a plain average of all observations, as of Monte Carlo merging."""
N_SHELLS, N_BINS = 8, 8


@dataclass(frozen=True)
class MergeScore:
    """Merged intensities beside the truth.

    Attributes
    ----------
    twice : of the largest strict share, those observed twice or more in each half: how many `n`,
        `cc_half` and `r_split`
    modulation : amplitudes along fast and slow of what the place in the pixel makes out
    strict : one row a share of the unique reflections, those measured best: `limit`, the
        `merge.max_relative_sigma` that leaves them, CC to the truth `cc`, `cc_half` and `r_split`
    post_refined : of the lattices as merging turned them
    shells : one row a shell: `limits`, `merged`, and CC to the truth of ours and of the unscaled
        average, both over what we merged
    bins : one row a bin of merged intensity: `i_over_sigma`, `chi_square` of repeated observations,
        and `off_truth`, the rms distance of merged intensities from the truth in sigmas
    """

    strict: pd.DataFrame
    twice: "pd.Series[float]"
    modulation: tuple[float, float]
    post_refined: LatticeScore
    shells: pd.DataFrame
    bins: pd.DataFrame

    @property
    def worst_gain(self) -> float:
        """Smallest CC gained over the unscaled average, of all shells."""
        return float((self.shells["cc"] - self.shells["cc_unscaled"]).min())


def series(result: Result, truth: Truth) -> "pd.Series[float]":
    """Return merged intensities by Miller index."""
    return by_index(
        result.unique.hkl.astype(np.int64), result.merged.mean.intensity, truth.space_group
    )


def score(reflections: Path, truth: Truth, settings: dict[str, object]) -> MergeScore:
    """Return how good the intensities merged from `reflections` are."""
    ours = merge(serial(), [reflections], MergeSettings.checked(settings))
    plain = merge(serial(), [reflections], MergeSettings.checked({**settings, **UNSCALED}))
    shells = _shells(ours, plain, truth, ours.limits_ang[0])
    return MergeScore(
        _strict(ours, truth),
        _twice(ours),
        amplitudes(ours.state.modulation),
        _post_refined(ours, truth),
        shells,
        _bins(ours, truth),
    )


def _strict(result: Result, truth: Truth) -> pd.DataFrame:
    """Return the rows of `MergeScore.strict`."""
    relative = relative_sigma(result)
    rows = {}
    for share in STRICT:
        limit = float(np.sort(relative)[round(share * len(relative)) - 1])
        chosen = relative <= limit
        kept = series(result, truth)[chosen[np.isfinite(result.merged.mean.intensity)]]
        halves = [half.intensity[chosen] for half in result.merged.halves]
        cc = correlation(kept, truth.intensities[kept.index])
        rows[share] = (limit, cc, between(*halves), r_split(*halves))
    return pd.DataFrame.from_dict(rows, "index", columns=["limit", "cc", "cc_half", "r_split"])


def _twice(result: Result) -> "pd.Series[float]":
    """Return `MergeScore.twice`."""
    obs, each = result.averager.mine, result.unique.slots_each
    half = np.where(result.averager.rejected, -1, result.dataset.half[obs.crystal])
    chosen = relative_sigma(result)
    chosen = chosen <= np.sort(chosen)[round(max(STRICT) * len(chosen)) - 1]
    for number in (0, 1):
        seen = np.bincount(obs.slot[half == number] // each, minlength=len(result.unique))
        chosen &= seen >= 2
    halves = [one.intensity[chosen] for one in result.merged.halves]
    found = {"n": chosen.sum(), "cc_half": between(*halves), "r_split": r_split(*halves)}
    return pd.Series(found)


def _post_refined(result: Result, truth: Truth) -> LatticeScore:
    """Return how well the crystals are oriented once merging has turned them."""
    crystals, tilt_mrad = result.dataset.crystals, result.state.scales.tilt_mrad
    turns = Rotation.from_rotvec(1e-3 * np.pad(tilt_mrad, [(0, 0), (0, 1)])).as_matrix()
    turned = turns @ crystals[A_MATRIX].to_numpy(float).reshape(-1, 3, 3)
    found = pd.DataFrame(turned.reshape(-1, 9), columns=A_MATRIX)
    return score_lattices(found.assign(shot=crystals["event"].to_numpy()), truth)


def relative_sigma(result: Result) -> Array:
    """Return the error of each unique reflection if it had the mean intensity, over that intensity.

    It tells how well a reflection was measured without looking at the intensity found.
    """
    each = result.unique.slots_each
    weight = result.added.information.sum(axis=0).reshape(-1, each).sum(axis=1)
    known = result.merged.is_measured
    relative = np.full(len(weight), np.inf)
    relative[known] = weight[known] ** -0.5 / result.merged.expected[known]
    return relative


def _shells(ours: Result, plain: Result, truth: Truth, d_min_ang: float) -> pd.DataFrame:
    """Return the rows of `MergeScore.shells`."""
    mine, others = series(ours, truth), series(plain, truth)
    rows = []
    for limits in shell_limits(truth.intensities, truth.cell, d_min_ang, N_SHELLS):
        found = agreement(mine, truth.intensities, truth.cell, limits)
        common = others[others.index.intersection(mine.index)]
        unscaled = agreement(common, truth.intensities, truth.cell, limits)
        label = f"{min(limits[0], 99.9):.2f} - {limits[1]:.2f}"
        rows.append((label, found.n_merged, found.cc, unscaled.cc))
    return pd.DataFrame(rows, columns=["limits", "merged", "cc", "cc_unscaled"])


def _bins(result: Result, truth: Truth) -> pd.DataFrame:
    """Return the rows of `MergeScore.bins`.

    The truth is brought to the merged data's scale in shells of resolution, since a common fall-off
    is no error of a reflection.
    """
    mean, scattered = result.merged.mean, result.scatter
    known = result.merged.is_measured
    index = pd.MultiIndex.from_arrays(list(result.unique.hkl.astype(np.int64).T))
    true = truth.intensities.reindex(index).to_numpy()
    known = known & np.isfinite(true)
    shells = np.array_split(np.argsort(-result.unique.d_ang), N_SHELLS)
    for shell in shells:
        own = shell[known[shell]]
        true[shell] *= mean.intensity[own].sum() / true[own].sum()
    order = np.flatnonzero(known)[np.argsort(mean.intensity[known], kind="stable")]
    rows = []
    for chosen in np.array_split(order, N_BINS):
        intensity, sigma = mean.intensity[chosen], mean.sigma[chosen]
        off = np.sqrt(np.mean(((intensity - true[chosen]) / sigma) ** 2))
        rows.append(((intensity / sigma).mean(), scattered.chi_square(chosen), off))
    return pd.DataFrame(rows, columns=["i_over_sigma", "chi_square", "off_truth"])
