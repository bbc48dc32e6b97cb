"""Commands that tests run on several ranks."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MPIEXEC = Path(sys.executable).with_name("mpiexec")
REPO_ROOT = Path(__file__).parents[1]


def on_ranks(n: int, *arguments: str) -> list[str]:
    """Return the command that runs `python -m mpi4py` with `arguments` on n ranks."""
    app = [sys.executable, "-m", "mpi4py", *arguments]
    return app if n == 1 else [str(MPIEXEC), "-n", str(n), *app]


def run_on_every(sizes: Sequence[int], module: str, *arguments: str) -> None:
    """Run `main` of a module on each number of ranks; {size} in an argument stands for it."""
    each = ["-m", "tests.every_size", ",".join(map(str, sizes)), module, *arguments]
    command = on_ranks(max(sizes), *each)
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=REPO_ROOT)
