"""Run a stage with some of the ranks in turn: so that one start of ranks serves several sizes.

usage: mpiexec -n 3 python -m mpi4py -m tests.every_size SIZE,SIZE... MODULE ARGUMENT...

MODULE has `main(argv, comm)`; {size} in an argument stands for the number of ranks.
"""

import sys
import time
from importlib import import_module

from xfel_apps import mpi


def main(argv: list[str]) -> int:
    """Return the exit code of the first run that fails, else 0."""
    sizes, module, *arguments = argv
    stage, world = import_module(module), mpi.world()
    code = 0
    for size in map(int, sizes.split(",")):
        some = world.Split(int(world.rank < size))
        if world.rank < size:
            code = code or stage.main([x.replace("{size}", str(size)) for x in arguments], some)
        others = world.Ibarrier()
        while not others.Test():  # a rank in Barrier would take a core from those that work
            time.sleep(0.01)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
