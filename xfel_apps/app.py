"""What the command of every stage has in common: arguments, one-line errors, exit codes."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.errors import StoppedError, XfelError

RANK_0_FIRST_S = 1.0
EXIT_OK, EXIT_ERROR, EXIT_AGAIN = 0, 1, 75
EXIT_CODES = "exit codes: 0 done; 1 error, said in one line; 75 stopped by a signal, run it again"


def parser(
    stage: str, summary: str, inputs: Sequence[str], output: str, *, many: bool = False
) -> argparse.ArgumentParser:
    """Return the argument parser of a stage's app.

    Parameters
    ----------
    stage, summary : its name and what it does in one sentence
    inputs : names of the products it reads; each becomes `--name MANIFEST`
    output : name of the product it writes
    many : each input takes one manifest or more
    """
    result = argparse.ArgumentParser(
        prog=f"python -m mpi4py -m xfel_apps.{stage}", description=summary, epilog=EXIT_CODES
    )
    for name in inputs:
        result.add_argument(
            f"--{name}",
            type=Path,
            required=True,
            nargs="+" if many else None,
            help=f"manifest of the {name} to read",
        )
    result.add_argument(
        f"--{output}", type=Path, required=True, help=f"manifest of the {output} to write"
    )
    result.add_argument("--settings", default="{}", help=f"the {stage} section as JSON")
    result.add_argument("--worker", default="{}", help="the worker section as JSON")
    return result


def run(
    body: Callable[[argparse.Namespace, mpi.Comm], None],
    arguments: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    comm: mpi.Comm | None,
) -> int:
    """Parse, run `body`, and return the exit code; expected errors become one line on stderr.

    An error that all ranks meet is said once.
    """
    comm = comm or mpi.world()
    args = arguments.parse_args(argv)
    try:
        mpi.check_ranks()
        body(args, comm)
    except StoppedError as err:
        if comm.rank == 0:
            print(f"stopped: {err}", file=sys.stderr)
        return EXIT_AGAIN
    except XfelError as err:
        _say(err, comm)
        return EXIT_ERROR
    return EXIT_OK


def _say(err: XfelError, comm: mpi.Comm) -> None:
    """Print an error; where all ranks meet it, only rank 0 does, and the others wait for that.

    A rank that meets one alone gives rank 0, whose exit ends the job, a moment to speak first.
    """
    if comm.rank > 0 and not err.on_all_ranks:
        time.sleep(RANK_0_FIRST_S)
    if comm.rank == 0 or not err.on_all_ranks:
        print(f"error: {err}", file=sys.stderr, flush=True)
    if err.on_all_ranks:
        comm.Barrier()
