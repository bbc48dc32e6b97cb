"""Make one version of a dataset: what growing runs have so far is put together, then merged.

`python -m mpi4py -m xfel_apps.live.version --trial results/000 --sealed r0001 --growing r0002 \
--merged results/000/datasets/all/v003/merged.json --key KEY`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.seal import read_experiment
from xfel_apps.live.snapshot import snapshot
from xfel_apps.merge.__main__ import main as merge


def _manifests(trial: Path, sealed: Sequence[str], growing: Sequence[str]) -> list[Path]:
    """Return the manifests to merge; those of growing runs are written now."""
    experiment = read_experiment(trial)
    live = [snapshot(LiveRun(trial, run), experiment) for run in growing]
    return [*(trial / run / "reflections.json" for run in sealed), *live]


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    arguments = argparse.ArgumentParser(
        prog="python -m mpi4py -m xfel_apps.live.version",
        description="Merge sealed and growing runs into one version of a dataset.",
        epilog=app.EXIT_CODES,
    )
    arguments.add_argument("--trial", type=Path, required=True, help="folder of the trial")
    arguments.add_argument("--sealed", nargs="*", default=[], help="runs that are sealed")
    arguments.add_argument("--growing", nargs="*", default=[], help="runs that are not")
    arguments.add_argument("--merged", type=Path, required=True, help="manifest to write")
    arguments.add_argument("--key", required=True, help="what tells versions apart")
    comm = comm or mpi.world()
    codes = [0]

    def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
        paths = mpi.agree(comm, lambda: _manifests(args.trial, args.sealed, args.growing))
        settings = mpi.agree(comm, lambda: read_experiment(args.trial).merge.canonical())
        inputs = ["--reflections", *map(str, paths), "--merged", str(args.merged)]
        codes[0] = merge([*inputs, "--key", args.key, "--settings", settings], comm)

    return app.run(body, arguments, argv, comm) or codes[0]


if __name__ == "__main__":
    sys.exit(main())
