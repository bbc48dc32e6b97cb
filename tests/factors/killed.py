"""The factors app, in which one rank is killed: ``python -m tests.factors.killed RANK ITERATION``.

The rest of the arguments are the app's.
"""

import os
import signal
import sys

from xfel_apps import mpi
from xfel_apps.factors.__main__ import main
from xfel_apps.factors.refine import Model, Refiner


def run(rank: int, iteration: int, arguments: list[str]) -> int:
    """Run the app; the rank kills itself once so many iterations are done."""
    iterate = Refiner.iterate

    def killed(self: Refiner, model: Model, *, stop: bool = False) -> Model:
        if model.iteration == iteration and mpi.world().rank == rank:
            os.kill(os.getpid(), signal.SIGKILL)
        return iterate(self, model, stop=stop)

    Refiner.iterate = killed  # type: ignore[method-assign]
    return main(arguments)


if __name__ == "__main__":
    sys.exit(run(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
