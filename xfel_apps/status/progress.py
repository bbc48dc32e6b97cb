"""How far each stage of a run is: from its manifest, or from the containers while they grow."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pandas as pd

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import PER_SHOT, RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError

RUNNING_S = 90.0
"""A stage without manifest whose files were written within this time counts as running [s]."""

RATE_OVER_S = 60.0
"""The rate of a running stage is that of its last so many seconds [s]."""

INPUT: Mapping[str, tuple[Product, Outcome]] = {
    SPOTS.name: (EVENTS, Outcome.PENDING),
    CRYSTALS.name: (SPOTS, Outcome.HIT_NOT_INDEXED),
    REFLECTIONS.name: (CRYSTALS, Outcome.INDEXED),
}
"""Which shots a stage has to do: those that the product before left with this outcome."""


class State(StrEnum):
    """How a stage of a run stands."""

    DONE = "done"
    RUNNING = "running"
    STOPPED = "stopped"
    OUTDATED = "outdated"
    WAITING = "waiting"


@dataclass(frozen=True)
class StageProgress:
    """One stage of one run.

    Attributes
    ----------
    run, stage, state : which and how it stands
    n_done, n_total : shots done and to be done; n_total None where it is not known yet
    outcomes : outcome -> number of the shots done
    rate_hz : shots a second, all ranks together; None: not known
    failures : reason -> number of failed shots
    written_s : time of the last write [seconds since 1970]; 0: nothing written
    """

    run: str
    stage: str
    state: State
    n_done: int = 0
    n_total: int | None = None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    rate_hz: float | None = None
    failures: Mapping[str, int] = field(default_factory=dict)
    written_s: float = 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds left at the present rate; None where that is not known."""
        if self.state is not State.RUNNING or not self.rate_hz or self.n_total is None:
            return None
        return (self.n_total - self.n_done) / self.rate_hz


def stages_of(folder: Path) -> list[StageProgress]:
    """Return the state of every per-shot stage of the run at `folder`."""
    results = RunResults(folder)
    try:
        return [_stage(results, product) for product in PER_SHOT.values()]
    finally:
        results.close()


def _stage(results: RunResults, product: Product) -> StageProgress:
    n_total = _to_do(results, product)
    paths = sorted((results.folder / product.name).glob("rank-*.h5"))
    shots = _read(paths, product)
    written_s = max((path.stat().st_mtime for path in paths), default=0.0)
    state = _state(results, product, written_s)
    if state is State.DONE:
        n_total = len(shots)
    failed = shots.loc[shots["outcome"] == Outcome.FAILED, "reason"]
    return StageProgress(
        run=results.name,
        stage=product.stage,
        state=state,
        n_done=len(shots),
        n_total=n_total,
        outcomes=dict(Counter(shots["outcome"])),
        rate_hz=_rate_hz(shots, RATE_OVER_S if state is State.RUNNING else None),
        failures=dict(Counter(failed)),
        written_s=written_s,
    )


def _state(results: RunResults, product: Product, written_s: float) -> State:
    if results.has(product):
        return State.DONE
    if (results.folder / f"{product.name}.json").is_file():
        return State.OUTDATED
    if not written_s:
        return State.WAITING
    return State.RUNNING if time.time() - written_s < RUNNING_S else State.STOPPED


def _to_do(results: RunResults, product: Product) -> int | None:
    """Return how many shots the stage has to do; None as long as the one before is not done."""
    if product.name not in INPUT:
        return None
    before, outcome = INPUT[product.name]
    return results.manifests[before.name].outcomes[outcome] if results.has(before) else None


def _read(paths: list[Path], product: Product) -> pd.DataFrame:
    """Return the shots flushed so far; a file that is only just being made has none."""
    readable = []
    for path in paths:
        try:
            ProductReader([path], product).close()
            readable.append(path)
        except (ContainerError, KeyError):
            continue
    reader = ProductReader(readable, product)
    try:
        return reader.shots()
    finally:
        reader.close()


def _rate_hz(shots: pd.DataFrame, window_s: float | None) -> float | None:
    """Return shots a second of wall time, over the last `window_s` or over all."""
    if not len(shots):
        return None
    last_s, first_s = float(shots["end_s"].max()), float(shots["start_s"].min())
    if window_s is not None and last_s - first_s > window_s:
        first_s = last_s - window_s
    n_shots = int((shots["end_s"] > first_s).sum())
    return n_shots / max(last_s - first_s, 1e-3)
