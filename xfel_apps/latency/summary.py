"""Latencies in a few numbers: median, 90 % and 99 % by stage and run."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.latency.times import STAGES

ALL = "all runs"


@dataclass(frozen=True)
class Summary:
    """Latencies of one stage.

    Attributes
    ----------
    n : shots that have a result
    median_s, p90_s, p99_s, max_s : half, 90 %, 99 % and all of them had it within this time [s]
    """

    n: int
    median_s: float
    p90_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, values_s: NDArray[np.float64]) -> "Summary":
        """Return the summary of latencies (n,), at least one [s]."""
        quantiles = np.quantile(values_s, [0.5, 0.9, 0.99, 1.0])
        return cls(len(values_s), *map(float, quantiles))


def known_s(frame: pd.DataFrame, stage: str) -> NDArray[np.float64]:
    """Return the latencies of a stage that are known [s]."""
    return frame[stage].dropna().to_numpy(float)


def summarize(frame: pd.DataFrame) -> dict[str, dict[str, Summary]]:
    """Return run -> stage -> summary; stages without any result are left out.

    Parameters
    ----------
    frame : as `latencies` returns it; several runs are also summed up as `ALL`
    """
    groups = {str(run): group for run, group in frame.groupby("run")}
    if len(groups) > 1:
        groups = {ALL: frame, **groups}
    return {
        run: {stage: Summary.of(values) for stage in STAGES if len(values := known_s(group, stage))}
        for run, group in groups.items()
    }


def as_json(summaries: Mapping[str, Mapping[str, Summary]]) -> dict[str, Any]:
    """Return the summaries as what JSON knows."""
    return {
        run: {stage: asdict(item) for stage, item in stages.items()}
        for run, stages in summaries.items()
    }
