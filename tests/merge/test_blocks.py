"""How crystals are cut, and sums over the pieces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.ranks import run_on_every
from xfel_apps import mpi
from xfel_apps.merge.blocks import MAX_LEAF_ROWS, LeafSums, Leaves

N_LEAVES, SHAPE = 37, (2, 11)


def values_of(leaf: int) -> np.ndarray:
    return np.random.default_rng(leaf).normal(size=SHAPE) * 10.0 ** (leaf % 7)


def main(argv: Sequence[str], comm: mpi.Comm) -> int:
    """Write the sum over leaves that the ranks have in shares, the first of them none."""
    path, sums = Path(argv[0]), LeafSums()
    edges = [0, *(N_LEAVES * (rank + 1) // comm.size for rank in range(comm.size))]
    edges[1] = 0 if comm.size > 2 else edges[1]
    for leaf in range(edges[comm.rank], edges[comm.rank + 1]):
        sums.push(leaf, values_of(leaf))
    total = sums.total(comm, SHAPE)
    if comm.rank == comm.size - 1:
        path.write_bytes(total.tobytes())
    return 0


def test_sums_are_the_same_to_the_last_bit_on_any_number_of_ranks(tmp_path: Path) -> None:
    run_on_every((1, 2, 3, 5), "tests.merge.test_blocks", str(tmp_path / "{size}"))
    found = [(tmp_path / str(size)).read_bytes() for size in (1, 2, 3, 5)]
    assert len(set(found)) == 1
    expected = np.sum([values_of(leaf) for leaf in range(N_LEAVES)], axis=0)
    np.testing.assert_allclose(np.frombuffer(found[0]).reshape(SHAPE), expected, rtol=1e-12)


@pytest.mark.parametrize("n_crystals", [1, 3, 1000, 20_000])
def test_leaves_have_all_crystals_and_never_part_a_shot(n_crystals: int) -> None:
    rng = np.random.default_rng(n_crystals)
    shot = np.sort(rng.integers(n_crystals, size=n_crystals))
    work = rng.integers(1, 1000, size=n_crystals)
    leaves = Leaves.of(work, shot)
    assert (leaves.edges[0], leaves.edges[-1]) == (0, n_crystals)
    assert (np.diff(leaves.edges) > 0).all()
    inner = leaves.edges[1:-1]
    assert (shot[inner] != shot[inner - 1]).all()
    assert np.add.reduceat(work, leaves.edges[:-1]).max() < 2 * MAX_LEAF_ROWS
    for size in (1, 2, 7):
        own = [leaves.of_rank(rank, size) for rank in range(size)]
        assert [leaf for share in own for leaf in share] == list(range(len(leaves)))
