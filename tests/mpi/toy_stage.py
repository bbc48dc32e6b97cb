"""A stage that takes a moment a shot; a stand-in that tests of the worker can kill and stop.

usage: python -m mpi4py toy_stage.py FOLDER N_EVENTS SECONDS_A_SHOT
"""

import sys
import time
from pathlib import Path

import numpy as np

from xfel_apps import mpi
from xfel_apps.config import Section
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS, Spots
from xfel_apps.errors import ShotError, StoppedError
from xfel_apps.worker import StageRun, WorkerSettings, run_stage


class Toy:
    """Event e has e % 5 spots whose columns are e % 100; every 50th fails, event 3 hangs."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def process(self, event: int) -> ShotResult:
        time.sleep(self.seconds)
        if event == 3:
            time.sleep(1000)
        if event % 50 == 49:
            raise ShotError(f"event {event} is bad")
        if event % 50 == 48:
            raise ValueError("a bug in one shot")
        n = event % 5
        rows = Spots(
            **{
                k: np.full((n, *m["shape"]), event % 100, m["dtype"])
                for k, m in Spots.schema().items()
            }
        )
        outcome = Outcome.MISS if n < 2 else Outcome.HIT_NOT_INDEXED
        return ShotResult(outcome, "", {"n_spots": n}, {"spots": rows})

    def before_flush(self) -> None:
        pass


def main(argv: list[str], comm: mpi.Comm) -> int:
    folder, n_events, seconds = Path(argv[0]), int(argv[1]), float(argv[2])
    job = StageRun(
        SPOTS,
        folder / "spots.json",
        "r1",
        Section(),
        {},
        dict.fromkeys(range(n_events), Outcome.PENDING),
        list(range(n_events)),
        WorkerSettings(flush_s=0.1, shot_limit_s=0.5),
    )
    try:
        manifest = run_stage(comm, job, lambda: Toy(seconds))
    except StoppedError:
        return 75
    if comm.rank == 0:
        print(manifest.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], mpi.world()))
