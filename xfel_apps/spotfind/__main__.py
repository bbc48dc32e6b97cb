"""Frames to spots: `python -m mpi4py -m xfel_apps.spotfind --events E --spots S`."""

import argparse
import sys
from collections.abc import Sequence

from xfel_apps import app, mpi
from xfel_apps.spotfind.run import spotfind_run
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.worker import WorkerSettings


def _body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    settings = SpotfindSettings.from_json(args.settings)
    worker = WorkerSettings.from_json(args.worker)
    manifest = spotfind_run(comm, args.events, args.spots, settings, worker)
    if comm.rank == 0:
        print(manifest.summary())


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    arguments = app.parser(
        "spotfind",
        "Find the Bragg spots of each shot; tell hits from misses.",
        ("events",),
        "spots",
    )
    return app.run(_body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
