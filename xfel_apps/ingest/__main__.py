"""Command of ingest."""

import argparse
import sys
from collections.abc import Sequence

from xfel_apps import app, mpi
from xfel_apps.containers.manifest import Manifest
from xfel_apps.ingest.run import ingest
from xfel_apps.ingest.settings import IngestSettings


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Index the run on rank 0; the others wait for it."""
    manifest = mpi.agree(comm, lambda: _index(args))
    if comm.rank == 0:
        print(manifest.summary())


def _index(args: argparse.Namespace) -> Manifest:
    return ingest(args.run, args.paths, IngestSettings.from_json(args.settings), args.events)


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run ingest from the command line and return the exit code."""
    arguments = app.parser(
        "ingest", "Index the shots of a run, without reading pixels.", (), "events"
    )
    arguments.add_argument("--run", required=True, help="name of the run")
    arguments.add_argument(
        "paths", nargs="+", metavar="PATH", help="file, folder, glob or list (.lst, .txt) of images"
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
