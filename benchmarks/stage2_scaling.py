"""What an iteration of stage 2 costs on 1, 2, 4 and 8 ranks with the same work for each.

Every rank has as many lattices as two copies of the stills have, all shared out anew by predicted
cost. Times are processor seconds of a rank, the least of several iterations (other programs on the
machine only add to them), in two parts:

- its lattices: steps, scales and sums of its own;
- the sum over all ranks, timed by itself when all ranks enter it together, so that waiting for
  slower ranks (a rank that waits sleeps) is not counted as communication.

`weak_scaling_overhead` is what the busiest rank has to do beyond the mean rank's lattices: how
uneven the shares are, and the sum. It is the largest of all numbers of ranks. The cores' caches and
memory are shared, so that the same lattices take longer the more ranks there are, whether these
speak to each other or not: `weak_scaling_slowdown` has the mean rank's lattices over those of one
rank alone, less one; it is the machine's, not the program's, and is not in the overhead.

usage: mpiexec -n N python -m mpi4py -m benchmarks.stage2_scaling FOLDER
"""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.stage1 import inputs_of
from xfel_apps import mpi
from xfel_apps.factors import refine as factors_refine
from xfel_apps.factors.dataset import Dataset
from xfel_apps.factors.refine import Refiner
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.share import total

Array = NDArray[np.float64]

MPIEXEC = Path(sys.executable).with_name("mpiexec")
RANKS = (1, 2, 4, 8)
N_TIMED, N_SUMS, COPIES = 12, 10, 2


class _Summing:
    """The sum over all ranks, its processor time taken."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.length = 0

    def __call__(self, comm: mpi.Comm, mine: NDArray[np.int64]) -> Array:
        began = time.process_time()
        result = total(comm, mine)
        self.cpu_s += time.process_time() - began
        self.length = len(mine)
        return result


def refiner_of(comm: mpi.Comm, folder: Path) -> tuple[Dataset, Refiner]:
    """Return the stills, `COPIES` times for each rank, and the refinement of this rank's share."""
    inputs = inputs_of(folder)
    shots = folder / "all-boxes" / "refined.json"
    dataset = Dataset.read([inputs.events], [shots], inputs.merged, FactorsSettings())
    dataset = replace(dataset, runs=dataset.runs * (COPIES * comm.size))
    lattices = dataset.lattices_of(comm.rank, comm.size)
    return dataset, Refiner(comm, lattices, dataset.s2, dataset.settings)


def iterations(comm: mpi.Comm, folder: Path) -> tuple[float, float]:
    """Return processor times of this rank [s]: its lattices in an iteration, and the sum."""
    dataset, refiner = refiner_of(comm, folder)
    model = dataset.first_model
    refiner.begin(model)
    summing = _Summing()
    vars(factors_refine)["total"] = summing
    lattices = []
    for _ in range(N_TIMED):
        began, before = time.process_time(), summing.cpu_s
        model = refiner.iterate(model)
        lattices.append(time.process_time() - began - (summing.cpu_s - before))
    together = []
    nothing = np.zeros(summing.length, dtype=np.int64)
    for _ in range(N_SUMS):
        total(comm, nothing[:1])  # all ranks leave it at about the same time
        began = time.process_time()
        total(comm, nothing)
        together.append(time.process_time() - began)
    return min(lattices), float(np.median(together))


def scaling(folder: Path) -> dict[str, Any]:
    """Return processor times of an iteration by number of ranks, and the overhead."""
    lattices: dict[int, Array] = {}
    sums: dict[int, Array] = {}
    for size in RANKS:
        work = [sys.executable, "-m", "mpi4py", "-m", "benchmarks.stage2_scaling", str(folder)]
        made = subprocess.run(
            [str(MPIEXEC), "-n", str(size), *work], check=True, capture_output=True, text=True
        )
        lattices[size], sums[size] = np.array(json.loads(made.stdout.splitlines()[-1])).T
    mean = {size: float(own.mean()) for size, own in lattices.items()}
    uneven = {size: float(own.max()) / mean[size] - 1.0 for size, own in lattices.items()}
    spoken = {size: float(own.max()) / mean[size] for size, own in sums.items()}
    overhead = {size: uneven[size] + spoken[size] for size in RANKS}
    slower = {size: mean[size] / mean[1] - 1.0 for size in RANKS}
    return {
        "iteration_cpu_s": _rounded(mean),
        "weak_scaling_imbalance": _rounded(uneven),
        "weak_scaling_communication": _rounded(spoken),
        "weak_scaling_slowdown": _rounded(slower),
        "weak_scaling_overhead": round(max(overhead.values()), 3),
    }


def _rounded(values: dict[int, float]) -> dict[str, float]:
    return {str(size): round(value, 4) for size, value in values.items()}


def main() -> None:
    """Print the times of all ranks."""
    comm = mpi.world()
    every = comm.gather(iterations(comm, Path(sys.argv[1])))
    if every is not None:
        print(json.dumps(every))


if __name__ == "__main__":
    main()
