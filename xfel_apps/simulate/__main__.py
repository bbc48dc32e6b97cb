"""Simulate a run: `python -m mpi4py -m xfel_apps.simulate [MODEL] --out DIR`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps import app, mpi
from xfel_apps.config import override
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings

EXAMPLES = """examples:
  200 shots of a made-up protein:
    python -m xfel_apps.simulate --out lyso
  thermolysin on a detector of eight modules, four ranks:
    mpiexec -n 4 python -m mpi4py -m xfel_apps.simulate 2tli.pdb --out tli
      --set "detector.modules=[4, 2]" --set "detector.module_px=[512, 1024]"
"""


def _parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(
        prog="python -m mpi4py -m xfel_apps.simulate",
        description="Write an NXmx run of simulated stills, with truth.h5 beside it.",
        epilog=EXAMPLES + app.EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "model", type=Path, nargs="?", help="PDB, mmCIF or MTZ file; without: a made-up protein"
    )
    result.add_argument("--out", type=Path, required=True, help="folder to write")
    result.add_argument("--shots", type=int, help="shots of the run")
    result.add_argument("--seed", type=int, help="equal seeds give equal runs")
    result.add_argument("--settings", default="{}", help="the simulate section as JSON")
    result.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="e.g. beam.bandwidth=0.002"
    )
    return result


def _settings(args: argparse.Namespace) -> SimulateSettings:
    """Return the section, with what the command line says on top."""
    given = SimulateSettings.from_json(args.settings).model_dump(mode="json")
    named = [
        f"{name}={json.dumps(value)}"
        for name in ("shots", "seed")
        if (value := getattr(args, name)) is not None
    ]
    return SimulateSettings.checked(override(given, [*named, *args.set]))


def _body(args: argparse.Namespace, comm: mpi.Comm) -> None:
    path = simulate(_settings(args), args.out, comm, args.model)
    if comm.rank == 0:
        print(f"simulated {path}")


def main(argv: Sequence[str] | None = None, comm: mpi.Comm | None = None) -> int:
    """Run the app and return its exit code."""
    return app.run(_body, _parser(), argv, comm)


if __name__ == "__main__":
    sys.exit(main())
