"""Spots to lattices: `python -m mpi4py -m xfel_apps.index --events E --spots S --crystals C`."""

import argparse
import sys
from collections.abc import Sequence

from xfel_apps import app, mpi
from xfel_apps.containers.manifest import Manifest
from xfel_apps.index.run import index_run
from xfel_apps.index.settings import IndexSettings
from xfel_apps.worker import WorkerSettings


def _body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    settings = IndexSettings.from_json(args.settings)
    worker = WorkerSettings.from_json(args.worker)
    manifest = index_run(comm, (args.events, args.spots), args.crystals, settings, worker)
    if comm.rank == 0:
        print(manifest.summary() + _cell_found(manifest))


def _cell_found(manifest: Manifest) -> str:
    """Return the line about the cell that was looked for; empty where one was given."""
    if "cell_found" not in manifest.extra:
        return ""
    found = manifest.extra["cell_found"]
    if not found:
        return "\ncell: none found that the best shots agree on; give one with --cell"
    numbers = " ".join(f"{x:.2f}" for x in found["cell"])
    return (
        f"\ncell found: {numbers}, {found['bravais']} ({found['space_group']} unless told "
        f"otherwise), in {found['n_shots']} of {found['n_found']} shots that any cell was found in"
    )


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    arguments = app.parser(
        "index", "Find the lattices that explain each hit's spots.", ("events", "spots"), "crystals"
    )
    return app.run(_body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
