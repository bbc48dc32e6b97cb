"""The cell of a run from the cells found shot by shot."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError
from xfel_apps.index.bravais import Bravais, bravais_lattice
from xfel_apps.index.target import Cell, TargetLattice, known_space_group, metric_maps

Array = NDArray[np.float64]

SAME_CELL = 0.05
"""Relative difference of metrics of one crystal form: 2.5 % in length, 1.5 degrees in angle."""


@dataclass(frozen=True)
class Consensus:
    """The cell that most shots share.

    Attributes
    ----------
    bravais : its lattice in the conventional setting
    n_shots : shots that share it
    n_found : shots in which any cell was found
    """

    bravais: Bravais
    n_shots: int
    n_found: int


def consensus(lattices: Array, log_odds: Array) -> Consensus:
    """Return the cell of the cluster of cells with most evidence.

    Parameters
    ----------
    lattices : (n, 3, 3) A of the reduced primitive cell of each shot [1/Angstrom]
    log_odds : (n,) evidence of each
    """
    metrics = lattices.transpose(0, 2, 1) @ lattices
    left = np.argsort(-log_odds, kind="stable")
    best: tuple[float, list[Array]] = (-np.inf, [])
    while len(left):
        cluster = _cluster(metrics[left[0]], metrics, left)
        members = np.array(list(cluster))
        best = max(best, (float(log_odds[members].sum()), list(cluster.values())), key=_support)
        left = left[~np.isin(left, members)]
    metric = np.median(np.array(best[1]), axis=0)
    a_matrix = np.asarray(np.linalg.cholesky(metric).T)
    return Consensus(bravais_lattice(a_matrix), len(best[1]), len(lattices))


def _support(cluster: tuple[float, list[Array]]) -> float:
    return cluster[0]


def _cluster(centre: Array, metrics: Array, among: NDArray[np.intp]) -> dict[int, Array]:
    """Return those of some metrics that are the centre's, in its basis, by their number."""
    result: dict[int, Array] = {}
    volume = np.linalg.det(centre)
    for number in among:
        metric = metrics[number]
        if abs(np.linalg.det(metric) / volume - 1.0) > 2.0 * SAME_CELL:
            continue
        maps = metric_maps(metric, centre, SAME_CELL)
        if len(maps):
            moved = maps.transpose(0, 2, 1) @ metric @ maps
            nearest = np.argmin(np.abs(moved - centre).max(axis=(1, 2)))
            result[int(number)] = moved[nearest]
    return result


def in_space_group(kind: str, cell: Cell, name: str) -> TargetLattice:
    """Return the cell found with the space group wanted, or say that it does not fit.

    Parameters
    ----------
    kind : symbol of the Bravais lattice found, for example tP
    cell : conventional cell found
    name : space group wanted
    """
    group = known_space_group(name, cell)
    if group.centring_type() != kind[1]:
        raise SettingsError(
            f"the cell found, {' '.join(f'{value:.2f}' for value in cell)}, is {kind}, which "
            f"index.space_group {name} is not: give index.cell, or leave index.space_group out"
        )
    return TargetLattice.checked(cell, name)
