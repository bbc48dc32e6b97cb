"""Timing rows of a made-up job with known faults."""

import numpy as np

from xfel_apps.containers.outcome import Outcome
from xfel_apps.plots.timing import Timings

START_S = 1.7e9


def steady(n_ranks: int = 8, n_each: int = 100, shot_s: float = 0.5) -> Timings:
    """Return a job in which nothing is wrong: every rank does a shot every 0.51 s, on one stage."""
    row = np.repeat(np.arange(n_ranks), n_each)
    start_s = START_S + np.tile((shot_s + 0.01) * np.arange(n_each), n_ranks)
    n = len(row)
    return Timings(
        run=np.zeros(n, np.int64),
        row=row,
        stage=np.zeros(n, np.int64),
        event=np.arange(n),
        outcome=np.full(n, Outcome.MISS.code),
        start_s=start_s,
        end_s=start_s + shot_s,
        cpu_s=np.full(n, 0.95 * shot_s),
        runs=("r0001",),
        rows=tuple(str(i) for i in range(n_ranks)),
    )
