"""Sampling of directions and rotations, and the best of many scores."""

import numpy as np
import pytest

from xfel_apps.index.sampling import directions, frames, highest, rotate


@pytest.mark.parametrize("n", [100, 1000, 4097])
def test_directions_cover_the_hemisphere(n: int) -> None:
    sampled = directions(n).T.astype(float)
    assert sampled.shape == (n, 3)
    np.testing.assert_allclose(np.linalg.norm(sampled, axis=1), 1.0, atol=1e-6)
    wanted = np.random.default_rng(0).normal(size=(500, 3))
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    nearest = np.arccos(np.clip(np.abs(wanted @ sampled.T).max(axis=1), 0, 1))
    step = np.sqrt(2 * np.pi / n)
    assert nearest.max() < 1.2 * step
    assert nearest.mean() < 0.5 * step


def test_fewer_directions_are_the_first_of_more() -> None:
    np.testing.assert_array_equal(directions(10), directions(2000)[:, :10])


def test_rotations_and_frames() -> None:
    rng = np.random.default_rng(1)
    axes = rng.normal(size=(20, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    angles = rng.uniform(-np.pi, np.pi, 20)
    turns = rotate(axes, angles)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", turns, axes), axes, atol=1e-12)
    np.testing.assert_allclose(np.trace(turns, axis1=1, axis2=2), 1 + 2 * np.cos(angles))
    quarter = rotate(np.array([[0.0, 0, 1]]), np.array([np.pi / 2]))[0]
    np.testing.assert_allclose(quarter @ [1.0, 0, 0], [0, 1, 0], atol=1e-12)
    found = frames(axes)
    np.testing.assert_allclose(found[:, :, 2], axes)
    np.testing.assert_allclose(np.linalg.det(found), 1.0)


def test_highest_scores_in_order() -> None:
    scores = np.zeros(1000, dtype=np.float32)
    peaks = np.array([3, 250, 251, 700, 998])
    scores[peaks] = [5, 9, 4, 7, 8]
    # 251 stands in the block of 250, which is higher
    np.testing.assert_array_equal(highest(scores, 4), [250, 998, 700, 3])
    assert len(highest(scores[:7], 4)) == 4
