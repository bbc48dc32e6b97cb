"""Chunks to products while runs grow: `python -m mpi4py -m xfel_apps.live.crew --results R ...`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.live.crew.beat import CrewName
from xfel_apps.live.crew.disk import say_once
from xfel_apps.live.crew.run import run_crew
from xfel_apps.live.settings import LiveSettings
from xfel_apps.worker import WorkerSettings


def _body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    live = LiveSettings.from_json(args.live)
    worker = WorkerSettings.from_json(args.worker)
    crew = CrewName(args.results, args.name, args.pool, args.daemon)
    run_crew(comm, crew, live, worker)


def _parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m mpi4py -m xfel_apps.live.crew",
        description="Take chunks of live runs from the queue and process them until none come.",
        epilog=app.EXIT_CODES,
    )
    result.add_argument("--results", type=Path, required=True, help="folder of all results")
    result.add_argument("--name", required=True, help="name of the crew, used once")
    result.add_argument("--pool", required=True, help="pool of the block that it runs in")
    result.add_argument("--daemon", required=True, help="id of the daemon that it works for")
    result.add_argument("--live", default="{}", help="the live section as JSON")
    result.add_argument("--worker", default="{}", help="the worker section as JSON")
    return result


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    return app.run(_body, _parser(), argv, comm)


def _leave(code: int) -> None:
    """End this process, and after an error all ranks, without what Python does at its end.

    HDF5 would try to close its files then, and crashes where the disk is full.
    """
    if code == app.EXIT_ERROR:
        sys.stderr.flush()
        if mpi.world().size > 1:
            mpi.world().Abort(code)
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    say_once()
    _leave(main())
