"""Clusters of unit cells: isoforms, phases and wrong lattices, told apart by their cells."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

REACH = 0.01
"""Cells closer than this are neighbours: 1 % of an axis, or 0.6 degrees of an angle."""
N_SAMPLE = 2000
LEAST, LEAST_SHARE = 4, 0.01
"""A cell with so many neighbours, and with this share of all, is in the midst of a cluster."""
MOST = 6
"""Smaller clusters than the largest so many count as none."""


def features(cells: Array) -> Array:
    """Return cells (n, 6) [Angstrom, degree] as (n, 6) numbers that compare: strains.

    >>> features(np.array([[1.0, 1.0, np.e, 90.0, 90.0, 180.0]])).round(3).tolist()
    [[0.0, 0.0, 1.0, 1.571, 1.571, 3.142]]
    """
    return np.hstack([np.log(cells[:, :3]), np.radians(cells[:, 3:])])


def cluster(cells: Array) -> IntArray:
    """Return the cluster (n,) of each cell (n, 6), the largest first; -1 for none.

    Cells with many others close by that reach each other from neighbour to neighbour are one
    cluster, and so are cells close to one of those (DBSCAN). Found on a sample of at most
    `N_SAMPLE`; the other cells go to the cluster of the nearest.
    Source: Ester, Kriegel, Sander & Xu (1996), Proc. KDD-96, 226-231.
    """
    if not len(cells):
        return np.empty(0, np.int64)
    points = features(cells)
    sample = points[np.linspace(0, len(points) - 1, min(len(points), N_SAMPLE)).astype(np.int64)]
    is_near = cdist(sample, sample) <= REACH
    n_near = is_near.sum(axis=1) - 1
    midst = n_near >= min(max(LEAST, LEAST_SHARE * len(sample)), max(len(sample) - 1, 1))
    if not midst.any():
        return np.full(len(cells), -1, np.int64)
    core = sample[midst]
    _, label = connected_components(is_near[np.ix_(midst, midst)], directed=False)
    distance, nearest = cKDTree(core).query(points, distance_upper_bound=REACH)
    found = np.full(len(cells), -1, np.int64)
    close = np.isfinite(distance)
    found[close] = label[nearest[close]]
    return _by_size(found)


def _by_size(found: IntArray) -> IntArray:
    """Return clusters numbered by size, the small ones beyond `MOST` as none."""
    counts = np.bincount(found[found >= 0])
    number = np.full(len(counts) + 1, -1)  # the last is for those in none
    kept = np.argsort(-counts, kind="stable")[:MOST]
    number[kept] = np.arange(len(kept))
    return np.asarray(number[found], np.int64)
