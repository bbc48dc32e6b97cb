"""Hot pixels: pixels that are the peak of a spot on too many of a run's shots."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import NOT_GOOD, Spots, peak_keys, pixels_of_keys
from xfel_apps.spotfind.settings import SpotfindSettings


def decide_hot(
    reader: ProductReader, settings: SpotfindSettings
) -> tuple[dict[str, Any], Mapping[int, Outcome]]:
    """Return the run's hot pixels for the manifest, and the hits that are misses without them.

    Crystals lie anyhow, so that a reflection seldom comes twice to one pixel; a pixel that lights
    up on `hot_fraction` of the shots is broken. Too few shots tell nothing.
    """
    shots = reader.shots()
    searched = shots[shots["outcome"] != Outcome.FAILED]
    spots = reader.frame("spots")
    keys = peak_keys(Spots(**{name: spots[name].to_numpy() for name in Spots.schema()}))
    hot = hot_keys(keys, len(searched), settings)
    good = (spots["flags"].to_numpy(np.int64) & int(NOT_GOOD)) == 0
    events = spots["event"].to_numpy(np.int64)[good & ~np.isin(keys, hot)]
    misses = now_misses(searched, events, settings.min_spots)
    extra = {
        "hot_pixels": pixels_of_keys(hot),
        "gain_adu": run_gain_adu(searched["gain_adu"].to_numpy(float)) if len(searched) else None,
    }
    return extra, dict.fromkeys(misses, Outcome.MISS)


def run_gain_adu(gains_adu: NDArray[np.float64]) -> float:
    """Return the gain of a run from that of its shots (n,) [ADU a photon].

    Where it was estimated from each shot, the median is known to about two digits; no more are
    given, so that a part of a run mostly has the gain of the whole.

    >>> run_gain_adu(np.array([9.481, 9.481])), run_gain_adu(np.array([3.91, 3.87, 3.84]))
    (9.481, 3.9)
    """
    median = float(np.median(gains_adu))
    return median if np.ptp(gains_adu) == 0.0 else float(f"{median:.2g}")


def hot_keys(
    keys: NDArray[np.int64], n_shots: int, settings: SpotfindSettings
) -> NDArray[np.int64]:
    """Return which pixels are hot, of the peaks (n,) of all spots of `n_shots` shots."""
    if settings.hot_fraction is None or not len(keys):
        return np.empty(0, dtype=np.int64)
    pixels, counts = np.unique(keys, return_counts=True)
    needed = max(settings.hot_fraction * n_shots, settings.hot_min_shots)
    return np.asarray(pixels[counts >= needed])


def now_misses(searched: pd.DataFrame, events: NDArray[np.int64], min_spots: int) -> list[int]:
    """Return the hits that have too few of the spots left; `events` (n,) is the shot of each."""
    hits = searched.index[searched["outcome"] == Outcome.HIT_NOT_INDEXED].to_numpy(np.int64)
    left = pd.Series(events, dtype=np.int64).value_counts().reindex(hits, fill_value=0)
    return [int(event) for event in hits[left.to_numpy() < min_spots]]
