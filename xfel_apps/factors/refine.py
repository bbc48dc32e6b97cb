"""The iterations: every lattice's spots and scale from all intensities, then these from all spots.

Shapes are as stage 1 left them, so a box is linear in its spot and background, and what couples the
shots is one number a reflection. Each iteration takes a scoring step in every box (the likelihood's
weights follow the model), the scale of every lattice given the intensities, and then the
intensities given all spots: sums that are the same to the last bit whatever rank has which shot, by
one Allreduce.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from xfel_apps import mpi
from xfel_apps.compute.sums import Sums
from xfel_apps.errors import StoppedError, XfelError
from xfel_apps.factors.lattices import LatticePixels
from xfel_apps.factors.scales import (
    N_MODEL,
    Factor,
    Weighed,
    error_terms,
    fitted,
    spread_of,
    why_not,
)
from xfel_apps.factors.settings import FactorsSettings
from xfel_apps.factors.share import GRAIN, add_at, grains, total
from xfel_apps.factors.spots import Spots, SpotState

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

FIRST_ERRORS = np.array([0.1, 0.1, 0.05]) ** 2
FIRST_STEPS = 3
"""Steps in every box before anything is averaged."""

ERRORS_UNTIL = 10
"""The model's errors, halfway to what spots say at each, stay after so many iterations."""

COUNTS = 1024.0
"""Large sums of scalars are kept in this unit."""


@dataclass(frozen=True)
class Model:
    """What all ranks agree on.

    Attributes
    ----------
    relative : (n_slots,) intensities over `level`
    weight : (n_slots,) inverse variances of them; 0 where nothing is known
    level : (n_slots,) mean intensity at the resolution of each
    errors : (3,) squares of the model's errors, see `scales`
    iteration : how many were done
    misfit : minus the log likelihood of all pixels
    change : rms of the last change of intensities in their sigmas
    n_lattices : used in the last iteration
    """

    relative: Array
    weight: Array
    level: Array
    errors: Array = field(default_factory=lambda: FIRST_ERRORS.copy())
    iteration: int = 0
    misfit: float = 0.0
    change: float = np.inf
    n_lattices: int = 0

    @property
    def intensity(self) -> Array:
        """Intensities (n_slots,), NaN where nothing was measured."""
        return np.where(self.weight > 0.0, self.relative * self.level, np.nan)


@dataclass
class Member:
    """A lattice on this rank and where it is: spots, factor, why it is left out."""

    lattice: LatticePixels
    spots: Spots
    factor: Factor = field(default_factory=Factor)
    reason: str | None = None

    @classmethod
    def again(cls, lattice: LatticePixels, model: Model, state: "MemberState") -> "Member":
        """Return the lattice where it was."""
        if state.reason is not None:
            return cls(lattice, Spots.first(lattice, model.level), state.factor, state.reason)
        return cls(lattice, Spots.again(lattice, model.level, state.spots), state.factor)

    @property
    def state(self) -> "MemberState":
        """What the member can be made again from."""
        return MemberState(self.factor, self.reason, self.spots.state)


@dataclass(frozen=True)
class MemberState:
    """Where a lattice is: see `Member`."""

    factor: Factor
    reason: str | None
    spots: SpotState


class Refiner:
    """The lattices of this rank, and the iterations that all ranks do together.

    Parameters
    ----------
    comm : the ranks
    lattices : of this rank
    s2 : (n_slots,) 1/(4 d^2) of the slots
    settings : how to refine
    """

    def __init__(
        self,
        comm: mpi.Comm,
        lattices: Sequence[LatticePixels],
        s2: Array,
        settings: FactorsSettings,
    ) -> None:
        self._comm, self._s2, self._settings = comm, s2, settings
        self._lattices = lattices
        self.members: list[Member] = []

    def resume(self, model: Model, states: dict[int, MemberState]) -> None:
        """Put every lattice where it was; `states` by number."""
        self.members = [
            Member.again(lattice, model, states[lattice.number]) for lattice in self._lattices
        ]

    def begin(self, model: Model) -> None:
        """Bring every box near its best, given the intensities."""
        self.members = [
            Member(lattice, Spots.first(lattice, model.level)) for lattice in self._lattices
        ]
        for member in self.members:
            if len(member.lattice) < self._settings.min_boxes:
                member.reason = (
                    f"{len(member.lattice)} boxes are left, fewer than "
                    f"factors.min_boxes={self._settings.min_boxes}"
                )
                continue
            for _ in range(FIRST_STEPS):
                self._step(member, model)

    def iterate(self, model: Model, *, stop: bool = False) -> Model:
        """Return the model after one iteration; raise `StoppedError` if any rank wants to stop."""
        n = len(model.relative)
        sums = np.zeros((2, n), dtype=np.int64)
        scalars = np.zeros(5 + N_MODEL * (N_MODEL + 1))
        kept = np.zeros(len(scalars), dtype=np.int64)
        for member in self.members:
            if member.reason is None:
                kept += grains(self._share_of(member, model, sums))
        kept[4] += grains(np.array([float(stop)]))[0]
        found = total(self._comm, np.concatenate([sums.ravel(), kept]))
        weighted, weight = found[: 2 * n].reshape(2, n)
        return self._next(model, Sums(weighted, weight), found[2 * n :])

    def _share_of(self, member: Member, model: Model, sums: IntArray) -> Array:
        """Add what a lattice says of the intensities to `sums`, and return its scalars."""
        lattice, given = member.lattice, (model.relative, model.errors)
        self._step(member, model)
        member.factor = fitted(lattice, member.spots, member.factor, given, self._settings)
        member.reason = why_not(
            lattice, member.spots, member.factor, model.relative, self._settings
        )
        nothing = np.zeros(5 + N_MODEL * (N_MODEL + 1))
        if member.reason is not None:
            return nothing
        found = Weighed.of(lattice, member.spots, member.factor, *given)
        weight = found.weight * found.f**2
        add_at(sums[0], lattice.slot, found.weight * found.f * member.spots.measured)
        add_at(sums[1], lattice.slot, weight)
        leverage = weight / np.maximum(model.weight[lattice.slot], weight + GRAIN)
        normal, right = found.model_errors(member.spots, error_terms(lattice), leverage)
        misfit, factor = found.misfit(member.spots), member.factor
        head = [misfit / COUNTS, factor.ln_scale, factor.b_ang2, 1.0, 0.0]
        return np.concatenate([head, normal.ravel() / COUNTS, right / COUNTS])

    def _step(self, member: Member, model: Model) -> None:
        lattice = member.lattice
        f = member.factor.at(lattice)
        x = f * model.relative[lattice.slot]
        spread = spread_of(lattice, x, f, model.errors)
        try:
            member.spots = member.spots.stepped(lattice, model.level, x, spread)
        except (np.linalg.LinAlgError, ValueError) as err:
            raise XfelError(f"shot {lattice.name}: {err}") from err

    def _next(self, model: Model, sums: Sums, scalars: Array) -> Model:
        """Return the model that the sums make; the lattices' mean scale and B stay at 0."""
        misfit, ln_scale, b_ang2, n_lattices, stop = scalars[:5]
        if stop:
            raise StoppedError("factors was asked to stop; run the same command to go on")
        if not n_lattices:
            raise XfelError("factors: no lattice is left; " + self._reasons())
        ln_scale, b_ang2 = ln_scale / n_lattices, b_ang2 / n_lattices
        for member in self.members:
            factor = member.factor
            member.factor = Factor(factor.ln_scale - ln_scale, factor.b_ang2 - b_ang2)
        known = sums.weight > 0.0
        mean_factor = np.exp(ln_scale - 2.0 * b_ang2 * self._s2)
        relative = np.where(known, sums.mean * mean_factor, model.relative)
        weight = sums.weight / mean_factor**2
        both = known & (model.weight > 0.0)
        change = np.inf
        if both.any():
            square = weight * (relative - model.relative) ** 2
            change = float(np.sqrt(square[both].mean()))
        normal = scalars[5:-N_MODEL].reshape(N_MODEL, N_MODEL) * COUNTS
        errors = model.errors
        if model.iteration < ERRORS_UNTIL:
            errors = self._errors(normal, scalars[-N_MODEL:] * COUNTS, errors)
        return replace(
            model,
            relative=relative,
            weight=weight,
            errors=errors,
            iteration=model.iteration + 1,
            misfit=misfit * COUNTS,
            change=change,
            n_lattices=round(n_lattices),
        )

    def _errors(self, normal: Array, right: Array, before: Array) -> Array:
        """Return squares of the model's errors from their normal equations, none negative."""
        least = self._settings.least_model_error**2
        values, vectors = np.linalg.eigh(normal)
        if not values[-1] > 0.0:
            return before
        root = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
        found, _ = nnls(root[:, None] * vectors.T, vectors.T @ right / root)
        return np.asarray(0.5 * (before + np.maximum(found, [least, 0.0, 0.0])))

    def _reasons(self) -> str:
        reasons = [f"{m.lattice.name}: {m.reason}" for m in self.members if m.reason is not None]
        return reasons[0] if reasons else "no lattice was refined by refine-shots"


def refine(
    refiner: Refiner,
    model: Model,
    settings: FactorsSettings,
    after: Callable[[Model], None],
    stop: Callable[[], bool],
) -> Model:
    """Iterate until the intensities stay; `after` is called with each model on every rank."""
    while model.iteration < settings.max_iterations and not model.change < settings.tolerance_sigma:
        model = refiner.iterate(model, stop=stop())
        after(model)
    return model
