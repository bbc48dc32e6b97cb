"""Scale the crystals of a dataset and merge what they measured: `python -m xfel_apps.merge`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.errors import SettingsError
from xfel_apps.merge.growth import is_due_anew
from xfel_apps.merge.modulation import amplitudes
from xfel_apps.merge.output import modes_chosen, write_all
from xfel_apps.merge.pipeline import merge
from xfel_apps.merge.settings import MergeSettings

NOTABLE_MODULATION = 0.05
"""Amplitudes that the log tells of."""


def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    """Merge the runs named on the command line."""
    settings = MergeSettings.from_json(args.settings)
    if args.onto and args.onto.resolve() == args.merged.resolve():
        raise SettingsError(f"--onto {args.onto}: write what it becomes to another folder")
    mpi.agree(comm, lambda: [Manifest.read(path, REFLECTIONS) for path in args.reflections])
    result = merge(comm, args.reflections, settings, args.onto)
    stats = write_all(comm, args.merged, result, args.reflections, settings, args.key)
    if comm.rank == 0:
        print(summary(result.merged.is_measured.sum(), len(result.unique)))
        print(f"merge: resolution: {stats.cutoff.sentence()}")
        if max(largest := amplitudes(result.state.modulation)) > NOTABLE_MODULATION:
            fast, slow = (100.0 * one for one in largest)
            print(
                "merge: what is recorded depends on the place in the pixel, corrected: "
                f"{fast:.0f} % along fast, {slow:.0f} % along slow"
            )
        if modes_chosen(result):
            print(f"merge: ways of indexing: {modes_chosen(result)}")
        if result.older:
            print(f"merge: {advice(MergedManifest.read(args.merged))}")


def summary(n_merged: int, n_possible: int) -> str:
    """Return one line for the log."""
    share = 100.0 * n_merged / n_possible
    return f"merge: {n_merged} of {n_possible} unique reflections ({share:.1f} %)"


def advice(manifest: MergedManifest) -> str:
    """Return one line on merged data that crystals were added to."""
    growth = manifest.growth
    said = f"{manifest.n_crystals - growth['crystals_before']} crystals added"
    if growth["drift"] is not None:
        said += f", {growth['drift']:.2f} times as far off as their errors let expect"
    if is_due_anew(manifest, manifest.n_crystals):
        said += "; merge all runs again without --onto before adding more"
    return said


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app; return its exit code."""
    arguments = app.parser(
        "merge",
        "Scale the crystals of one run or more and merge what they measured.",
        ["reflections"],
        "merged",
        many=True,
    )
    arguments.add_argument(
        "--onto",
        type=Path,
        help="manifest of merged data: add to it the crystals of the runs that it lacks",
    )
    arguments.add_argument(
        "--key", default="", help="digest of raw files and settings, kept in the manifest"
    )
    return app.run(body, arguments, argv, comm)


if __name__ == "__main__":
    sys.exit(main())
