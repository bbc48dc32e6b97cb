"""Refine shots: `python -m mpi4py -m xfel_apps.diffbragg --events E ... --merged M --refined R`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields

from xfel_apps import app, mpi
from xfel_apps.diffbragg.run import Inputs, refine_run
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.worker import WorkerSettings


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Refine the run on all ranks."""
    settings = DiffbraggSettings.from_json(args.settings)
    worker = WorkerSettings.from_json(args.worker)
    inputs = Inputs(**{item.name: getattr(args, item.name) for item in fields(Inputs)})
    manifest = refine_run(comm, inputs, args.refined, settings, worker)
    if comm.rank == 0:
        print(manifest.summary())


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run diffbragg from the command line and return the exit code."""
    arguments = app.parser(
        "diffbragg",
        "Refine each shot's lattices against every pixel near a spot.",
        [item.name for item in fields(Inputs)],
        "refined",
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
