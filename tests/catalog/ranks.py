"""Ranks that write containers as spotfind does, at a pace: `python -m tests.catalog.ranks RUN ...`.

They know nothing of any database.
"""

import argparse
import os
import time
from pathlib import Path

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter

ENDS = (Outcome.MISS, Outcome.MISS, Outcome.HIT_NOT_INDEXED)


def write(run: Path, rank: int, events: range, flush_rows: int, pause_s: float) -> None:
    """Write the events of a rank; after each flush it takes a break."""
    with ContainerWriter(run / "spots", rank, SPOTS, "digest") as writer:
        for number, event in enumerate(events, 1):
            outcome = ENDS[event % len(ENDS)]
            reason = "3 spots, 10 wanted" if outcome is Outcome.MISS else ""
            writer.append(event, ShotResult(outcome, reason), time.time(), 0.01)
            if number % flush_rows == 0:
                writer.flush()
                time.sleep(pause_s)


def main() -> None:
    """Start a process for each rank; end when all have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--rows", type=int, default=100, help="of each rank")
    parser.add_argument("--flush-rows", type=int, default=10)
    parser.add_argument("--pause-s", type=float, default=0.2)
    args = parser.parse_args()
    children = []
    for rank in range(args.ranks):
        child = os.fork()
        if not child:
            events = range(rank * args.rows, (rank + 1) * args.rows)
            write(args.run, rank, events, args.flush_rows, args.pause_s)
            os._exit(0)
        children.append(child)
    failed = [child for child in children if os.waitpid(child, 0)[1]]
    raise SystemExit(len(failed))


if __name__ == "__main__":
    main()
