"""Make one version of a dataset: what growing runs have so far is put together, then merged.

While runs grow, crystals are added to the newest version, which takes the work of the new ones
alone, until all are merged anew: when they are twice as many, when what is added drifts, when a run
is sealed, changes or goes. With sealed runs alone all are merged together, as the batch does.

`python -m mpi4py -m xfel_apps.live.version --trial results/000 --sealed r0001 --growing r0002 \
--merged results/000/datasets/all/v003/merged.json --key KEY --lattices 1200`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.errors import XfelError
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.merges import newest_version
from xfel_apps.live.seal import read_experiment
from xfel_apps.live.snapshot import snapshot
from xfel_apps.merge.__main__ import main as merge
from xfel_apps.merge.growth import Older, is_due_anew


def _manifests(trial: Path, sealed: Sequence[str], growing: Sequence[str]) -> list[Path]:
    """Return the manifests to merge; those of growing runs are written now."""
    experiment = read_experiment(trial)
    live = [snapshot(LiveRun(trial, run), experiment) for run in growing]
    return [*(trial / run / "reflections.json" for run in sealed), *live]


def _onto(args: argparse.Namespace, paths: list[Path]) -> tuple[Path | None, list[Path]]:
    """Return the version that crystals are added to, and the manifests that have new ones.

    None and all manifests where all crystals are merged anew.
    """
    anew = None, paths
    last = newest_version(args.merged.parent.parent)
    if not args.growing or last is None or is_due_anew(last.manifest, args.lattices):
        return anew
    found = {path: Manifest.read(path, REFLECTIONS) for path in paths}
    before = last.manifest.inputs
    news = [path for path, now in found.items() if before.get(now.run) != now.digest]
    is_other = any(found[path].run in before and found[path].run in args.sealed for path in news)
    if is_other or not news or before.keys() - {now.run for now in found.values()}:
        return anew
    settings = read_experiment(args.trial).merge
    try:
        Older.read(last.path, settings).new_crystals(news, settings)
    except XfelError:  # crystals have gone, or none has come
        return anew
    return last.path, news


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
    arguments.add_argument("--lattices", type=int, required=True, help="of all runs")
    comm = comm or mpi.world()
    codes = [0]

    def body(args: argparse.Namespace, comm: mpi.Comm) -> None:
        paths = mpi.agree(comm, lambda: _manifests(args.trial, args.sealed, args.growing))
        settings = mpi.agree(comm, lambda: read_experiment(args.trial).merge.canonical())
        onto, paths = mpi.agree(comm, lambda: _onto(args, paths))
        inputs = ["--reflections", *map(str, paths), "--merged", str(args.merged)]
        inputs += ["--onto", str(onto)] if onto else []
        codes[0] = merge([*inputs, "--key", args.key, "--settings", settings], comm)

    return app.run(body, arguments, argv, comm) or codes[0]


if __name__ == "__main__":
    sys.exit(main())
