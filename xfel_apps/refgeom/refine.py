"""Gauss-Newton over all crystals of a dataset; every rank runs the cycles together.

The shots are cut into `N_SLICES` slices whatever the number of ranks, and the slices' sums are
added in order: the result is the same to the last bit on any number of ranks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.errors import ContainerError, StoppedError
from xfel_apps.progress import Progress
from xfel_apps.refgeom.assign import assigned
from xfel_apps.refgeom.dataset import Dataset, Share, read_share
from xfel_apps.refgeom.hierarchy import Node, moving
from xfel_apps.refgeom.model import Poses, residuals
from xfel_apps.refgeom.normal import Equations, Scatter, crystal_steps, equations
from xfel_apps.refgeom.settings import RefgeomSettings
from xfel_apps.refgeom.solve import Hierarchy, panel_motion, step
from xfel_apps.refgeom.tally import Histogram, PanelSums, panel_sums

Array = NDArray[np.float64]

N_SLICES = 32
"""Shots are summed in so many slices; more ranks than that do not help."""
FIRST_SIGMA = 3.0
"""Outliers are looser by this factor in the first cycle and grow strict over `SETTLING` ones."""
SETTLING = 4
DONE_SIGMA = 0.05
"""Refinement ends when nothing moves further in a cycle, in its own standard errors."""
ALONE_CYCLES = 3
"""Cycles of the crystals alone in the geometry as it was, so that both ends compare."""


@dataclass(frozen=True)
class Refined:
    """What came out, the same on every rank.

    Attributes
    ----------
    before, after : poses of the panels
    hierarchy : nodes that moved
    kept : indices of nodes that moved with their parents, for want of spots
    motion, sigma : (size,) total motions of nodes and runs, and their standard deviations
    sums_before, sums_after : residuals of each panel
    scatter : of the residuals at the end
    n_crystals, n_cycles : crystals that took part, and cycles it took
    converged : whether nothing moved any more
    """

    before: Poses
    after: Poses
    hierarchy: Hierarchy
    kept: list[int]
    motion: Array
    sigma: Array
    sums_before: PanelSums
    sums_after: PanelSums
    scatter: Scatter
    n_crystals: int
    n_cycles: int
    converged: bool


class Refinement:
    """The shares of this rank, and sums over all ranks in an order that does not depend on them.

    Parameters
    ----------
    comm : ranks that take part
    dataset, settings : what is refined
    """

    def __init__(self, comm: mpi.Comm, dataset: Dataset, settings: RefgeomSettings) -> None:
        self._comm = comm
        self._target = dataset.target
        self._settings = settings
        self.poses = Poses.of(dataset.detectors)
        self._owner = [i * comm.size // N_SLICES for i in range(N_SLICES)]
        shots = dataset.shots
        self._shares: dict[int, Share] = {}
        for i, owner in enumerate(self._owner):
            if owner == comm.rank:
                part = slice(i * len(shots) // N_SLICES, (i + 1) * len(shots) // N_SLICES)
                self._shares[i] = read_share(dataset, shots[part], self.poses, settings)

    @property
    def n_crystals(self) -> int:
        """Crystals of all ranks."""
        mine = sum(len(share.crystals) for share in self._shares.values())
        return int(self._comm.allreduce(mine))

    def summed(self, of_share: Callable[[Share], Array]) -> Array:
        """Return the sum over all slices of an array, in order of the slices."""
        mine = {i: of_share(share) for i, share in self._shares.items()}
        total: Array | None = None
        for i, owner in enumerate(self._owner):
            part = self._comm.bcast(mine[i] if owner == self._comm.rank else None, root=owner)
            total = part if total is None else total + part
        assert total is not None  # there are slices
        return total

    def scatter(self, max_sigma: float) -> Scatter:
        """Return the robust standard deviations of the residuals as they are now."""
        counts = self.summed(lambda share: Histogram.counts(self._values(share)))
        radial, transverse = Histogram.sigmas(counts)
        return Scatter(radial, transverse, max_sigma)

    def sums(self, scatter: Scatter) -> PanelSums:
        """Return the sums of residuals by panel."""
        n_panels = self.poses.origins_mm.shape[1]
        return PanelSums(
            self.summed(
                lambda share: panel_sums(
                    share.found, self._values(share), len(share.crystals), scatter, n_panels
                )
            )
        )

    def equations(self, scatter: Scatter) -> Equations:
        """Return the equations of all panels and runs."""

        def stacked(share: Share) -> Array:
            part = equations(
                self.poses,
                share.crystals,
                share.found,
                self._target,
                (scatter, self._settings.cell_sigma),
            )
            return np.vstack([part.matrix, part.right])

        total = self.summed(stacked)
        return Equations(total[:-1], total[-1])

    def move(self, scatter: Scatter, motion: Array) -> None:
        """Move the panels, and the crystals as it suits them."""
        for i, share in self._shares.items():
            steps = crystal_steps(
                self.poses,
                share.crystals,
                share.found,
                self._target,
                (scatter, motion, self._settings.cell_sigma),
            )
            self._shares[i] = replace(share, crystals=share.crystals.moved(steps))
        self.poses = self.poses.moved(motion)

    def assign(self, scatter: Scatter) -> None:
        """Index all spots of the crystals' shots anew, in the geometry as it is now."""
        for i, share in self._shares.items():
            both = share.found, share.all_spots
            found = assigned(self.poses, share.crystals, self._target, both, scatter)
            self._shares[i] = replace(share, found=found)

    def _values(self, share: Share) -> Array:
        return residuals(self.poses, share.crystals, self._target, share.found).values


def refine(
    comm: mpi.Comm, dataset: Dataset, nodes: list[Node], settings: RefgeomSettings
) -> Refined:
    """Return the refined geometry of a dataset, on every rank."""
    with mpi.stop_on_signal() as stop:
        work = Refinement(comm, dataset, settings)
        for _ in range(ALONE_CYCLES):
            loose = work.scatter(settings.max_deviation_sigma * FIRST_SIGMA)
            work.move(loose, np.zeros((*work.poses.origins_mm.shape[:2], 6)))
        sums_before = work.sums(work.scatter(settings.max_deviation_sigma * FIRST_SIGMA))
        counts = sums_before.n_all
        if not counts.sum():
            raise ContainerError(
                f"no crystal has {settings.min_crystal_spots} indexed spots "
                "(refgeom.min_crystal_spots); nothing to refine"
            )
        free, kept = moving(nodes, counts, settings.min_spots)
        n_runs = len(dataset.runs)
        known = dataset.target.is_known if settings.distance is None else settings.distance
        hierarchy = Hierarchy.of(
            nodes,
            free,
            work.poses.middles_mm[0],
            n_runs if settings.drift and n_runs > 1 else 0,
            with_distance=known,
        )
        before = work.poses
        motion, sigma, n_cycles, converged = _cycles(work, hierarchy, settings, (comm, stop))
        scatter = work.scatter(settings.max_deviation_sigma)
        return Refined(
            before,
            work.poses,
            hierarchy,
            kept,
            motion,
            sigma,
            sums_before,
            work.sums(scatter),
            scatter,
            work.n_crystals,
            n_cycles,
            converged,
        )


def _cycles(
    work: Refinement,
    hierarchy: Hierarchy,
    settings: RefgeomSettings,
    ranks: tuple[mpi.Comm, mpi.StopRequest],
) -> tuple[Array, Array, int, bool]:
    """Return total motions, their standard deviations, the cycles it took, whether it settled.

    Once it has settled, spots are indexed anew and it goes on.
    """
    comm, stop = ranks
    sigmas = hierarchy.sigmas(settings)
    total, spread = np.zeros(hierarchy.size), np.zeros(hierarchy.size)
    n_runs = len(work.poses.origins_mm)
    is_assigned = False
    with Progress("refgeom", settings.n_cycles, shown=comm.rank == 0) as progress:
        for cycle in range(settings.n_cycles):
            if comm.allreduce(int(stop.wanted)):
                raise StoppedError("refgeom was asked to stop; nothing was written")
            loose = max(FIRST_SIGMA * (1.0 - cycle / SETTLING), 1.0)
            scatter = work.scatter(settings.max_deviation_sigma * loose)
            motion, spread = step(work.equations(scatter), hierarchy, sigmas, total)
            work.move(scatter, panel_motion(hierarchy, motion, n_runs))
            total = total + motion
            progress.report("cycles")
            if cycle >= SETTLING and np.all(np.abs(motion) <= DONE_SIGMA * spread):
                if is_assigned:
                    return total, spread, cycle + 1, True
                work.assign(work.scatter(settings.max_deviation_sigma))
                is_assigned = True
    return total, spread, settings.n_cycles, False
