"""Sums over all lattices at the end: intensities, sigmas from the curvature, halves, scatter."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.compute.scaling import STUDENT
from xfel_apps.compute.sums import Sums
from xfel_apps.factors.refine import Member, Model
from xfel_apps.factors.scales import Weighed, spread_of
from xfel_apps.factors.share import add_at, total
from xfel_apps.intensities.table import Half

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

ALONE = 1e-6
"""A spot is repeated if the others of its reflection have more than this share of the weight."""

N_SUMS = 9

CERTAIN = STUDENT / (STUDENT + 1.0)
"""Student's t weighs a spot at its mean by more than its inverse variance; sigmas must not."""


@dataclass(frozen=True)
class Final:
    """What the statistics are made of: sums over all lattices.

    Attributes
    ----------
    whole, halves : of intensities and weights; the weights are the likelihood's curvature
    counts, informing : (n_slots,) boxes, and weights were every reflection of mean intensity
    square, repeated : (n_slots,) squared distances of repeated spots in sigmas, and how many
    """

    whole: Sums
    halves: tuple[Half, Half]
    counts: IntArray
    informing: Array
    square: Array
    repeated: Array


def final_sums(comm: mpi.Comm, members: Sequence[Member], model: Model) -> Final:
    """Return the sums over the lattices of all ranks, on every rank."""
    sums = np.zeros((N_SUMS, len(model.relative)), dtype=np.int64)
    for member in members:
        if member.reason is None:
            _add(member, model, sums)
    found = total(comm, sums.ravel()).reshape(sums.shape)
    weighted, weight, informing, counts, square, repeated = found[:6]
    return Final(
        _scaled(weighted, weight, model.level),
        (_half(found[:3] - found[6:], model.level), _half(found[6:], model.level)),
        np.rint(counts).astype(np.int64),
        informing / model.level**2,
        square,
        repeated,
    )


def _add(member: Member, model: Model, sums: IntArray) -> None:
    """Add what a lattice says to the sums (N_SUMS, n_slots)."""
    lattice = member.lattice
    found = Weighed.of(lattice, member.spots, member.factor, model.relative, model.errors)
    share = found.weight * found.f**2
    others = 1.0 - share / np.maximum(model.weight[lattice.slot], share)
    weight = CERTAIN * share
    weighted = CERTAIN * found.weight * found.f * member.spots.measured
    repeated = (others > ALONE).astype(float)
    square = found.residual**2 / found.variance / np.where(repeated > 0.0, others, 1.0)
    quiet = member.spots.variance + spread_of(lattice, found.f, found.f, model.errors)
    informing = found.f**2 / quiet
    terms = (
        weighted,
        weight,
        informing,
        np.ones(len(lattice)),
        square * repeated,
        repeated,
        *(lattice.half * part for part in (weighted, weight, informing)),
    )
    for row, values in zip(sums, terms, strict=True):
        add_at(row, lattice.slot, values)


def _half(sums: Array, level: Array) -> Half:
    """Return half of the data from sums (3, n_slots) of intensities over `level`."""
    weighted, weight, informing = sums
    return Half(_scaled(weighted, weight, level), informing / level**2)


def _scaled(weighted: Array, weight: Array, level: Array) -> Sums:
    """Return sums of intensities from those of intensities over `level`."""
    return Sums(weighted / level, weight / level**2)
