"""The compiled scores of trial lattices are their NumPy twins, and are highest at the truth."""

import numpy as np
import pytest

from xfel_apps.compute.lattice_search import (
    TrialSpots,
    score_rotations,
    score_rotations_reference,
    score_vectors,
    score_vectors_reference,
)


def random_spots(rng: np.random.Generator, n: int) -> TrialSpots:
    return TrialSpots(
        rng.uniform(-0.3, 0.3, size=(n, 3)), rng.uniform(1e-3, 4e-3, n), rng.uniform(1, 5, n)
    )


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize(("n_vectors", "n_spots"), [(1, 1), (255, 40), (256, 7), (1000, 60)])
def test_vectors_kernel_is_twin(n_vectors: int, n_spots: int) -> None:
    rng = np.random.default_rng(n_vectors)
    spots = random_spots(rng, n_spots)
    t = rng.normal(size=(3, n_vectors)) * 40.0
    expected = score_vectors_reference(t, spots)
    # float32 moves t.q by some 1e-6, the score by weight * 2 * distance / reach^2 times that
    np.testing.assert_allclose(score_vectors(t, spots), expected, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize(("n_axes", "n_angles"), [(1, 1), (3, 300), (5, 256)])
def test_rotations_kernel_is_twin(n_axes: int, n_angles: int) -> None:
    rng = np.random.default_rng(n_axes)
    spots = random_spots(rng, 40)
    base = np.linalg.inv(np.diag([40.0, 60.0, 90.0]) + rng.normal(size=(3, 3)))
    lattices = np.stack([random_rotation(rng) @ base for _ in range(n_axes)])
    axes = rng.normal(size=(n_axes, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = np.linspace(0, 2 * np.pi, n_angles)
    expected = score_rotations_reference(axes, lattices, angles, spots)
    result = score_rotations(axes, lattices, angles, spots)
    np.testing.assert_allclose(result, expected, atol=3e-2, rtol=1e-3)


def test_lattice_points_score_their_whole_weight() -> None:
    rng = np.random.default_rng(5)
    a_matrix = random_rotation(rng) @ np.diag([1 / 40, 1 / 60, 1 / 90])
    q = rng.integers(-5, 6, size=(30, 3)) @ a_matrix.T
    spots = TrialSpots(q, np.full(30, 1e-3), rng.uniform(1, 5, 30))
    real = np.linalg.inv(a_matrix)
    np.testing.assert_allclose(score_vectors(real.T, spots), spots.weight.sum(), rtol=1e-3)
    turned = score_rotations(real[:1] / 40, a_matrix[None], np.array([0.0, 0.1]), spots)[0]
    assert turned[0] == pytest.approx(spots.weight.sum(), rel=1e-3)
    assert turned[1] < 0.5 * turned[0]


def test_no_axes_give_no_scores() -> None:
    spots = random_spots(np.random.default_rng(1), 4)
    result = score_rotations(np.empty((0, 3)), np.empty((0, 3, 3)), np.zeros(3), spots)
    assert result.shape == (0, 3)
