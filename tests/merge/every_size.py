"""Merge with 1, 2, 3 and 5 of five ranks in turn: `mpiexec -n 5 python -m mpi4py every_size.py`."""

import sys
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.merge.__main__ import main

if __name__ == "__main__":
    folder, settings, *names = sys.argv[1:]
    for size in (1, 2, 3, 5):
        some = mpi.world().Split(int(mpi.world().rank < size))
        merged = str(Path(folder) / str(size) / "merged.json")
        if mpi.world().rank < size:
            arguments = ["--reflections", *names, "--merged", merged, "--settings", settings]
            if main(arguments, some):
                sys.exit(1)
