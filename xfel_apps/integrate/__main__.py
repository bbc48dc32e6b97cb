"""Lattices to intensities: `python -m mpi4py -m xfel_apps.integrate --events E --spots S ...`."""

import argparse
import sys
from collections.abc import Sequence

from xfel_apps import app, mpi
from xfel_apps.integrate.run import integrate_run
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.worker import WorkerSettings


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Integrate the run on all ranks."""
    settings = IntegrateSettings.from_json(args.settings)
    worker = WorkerSettings.from_json(args.worker)
    inputs = args.events, args.spots, args.crystals
    manifest = integrate_run(comm, inputs, args.reflections, settings, worker)
    if comm.rank == 0:
        print(manifest.summary())


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run integrate from the command line and return the exit code."""
    arguments = app.parser(
        "integrate",
        "Measure the reflections that each shot's lattices show.",
        ("events", "spots", "crystals"),
        "reflections",
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
