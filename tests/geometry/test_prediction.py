"""Predicted reflections against an exhaustive search and against geometry."""

from itertools import product

import numpy as np
import pytest

from xfel_apps.errors import GeometryError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, is_absent, miller_near_sphere, predict


def random_matrix(rng: np.random.Generator, lengths: tuple[float, float, float]) -> np.ndarray:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    skew = np.eye(3) + rng.uniform(-0.15, 0.15, (3, 3))
    return np.asarray(turn @ skew @ np.diag(1.0 / np.array(lengths)))


@pytest.mark.parametrize("seed", range(12))
def test_finds_what_an_exhaustive_search_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.choice([11.0, 25.0, 60.0], 3)
    a_matrix, s0 = random_matrix(rng, tuple(lengths)), np.array([0.01, 0.02, -0.9])
    d_min, distance = 2.5, float(rng.choice([5e-4, 5e-3, 0.1, 1.2]))
    most = 2 + np.ceil(np.linalg.norm(np.linalg.inv(a_matrix), axis=1) / d_min).astype(int)
    box = np.array(list(product(*(range(-m, m + 1) for m in most))))
    q = box @ a_matrix.T
    length = np.linalg.norm(q, axis=1)
    off = np.abs(np.linalg.norm(q + s0, axis=1) - np.linalg.norm(s0))
    expected = box[(length > 0) & (length <= 1 / d_min) & (off <= distance)]
    assert len(expected) > 0
    found = miller_near_sphere(a_matrix, s0, d_min, distance)
    np.testing.assert_array_equal(found, expected)


def flat_detector() -> Detector:
    return Detector(
        (
            Panel("left", (-60.0, 60.0, -80.0), (1, 0, 0), (0, -1, 0), (0.2, 0.2), (600, 290)),
            Panel(
                "right", (2.0, 60.0, -80.0), (1, 0, 0), (0, -1, 0), (0.2, 0.2), (600, 290), (0, 290)
            ),
        ),
        (600, 580),
    )


def test_predictions_obey_bragg() -> None:
    lattice = Lattice(
        random_matrix(np.random.default_rng(1), (60, 70, 90)), "P 1", Mosaic(0.1, 1e3)
    )
    beam, detector = Beam(1.3), flat_detector()
    found = predict(lattice, detector, beam, d_min_ang=2.0)
    assert len(found) > 100
    s1 = detector.s1(found.panel, found.fast_px, found.slow_px, beam.wavelength_ang)
    np.testing.assert_allclose(s1, found.s1, atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(found.s1, axis=1), 1 / 1.3)
    off = np.linalg.norm(s1 - beam.s0 - found.q, axis=1)
    np.testing.assert_allclose(off, np.abs(found.excitation_invang), atol=1e-12)
    assert (off <= 2.0 * lattice.mosaic.half_width_invang(found.q_length_invang)).all()


def test_centring_and_screws_are_absent() -> None:
    a_matrix = random_matrix(np.random.default_rng(2), (60, 70, 90))
    everything = predict(
        Lattice(a_matrix, "P 1", Mosaic(0.1, 1e3)), flat_detector(), Beam(1.3), 2.0
    )
    centred = predict(Lattice(a_matrix, "C 2", Mosaic(0.1, 1e3)), flat_detector(), Beam(1.3), 2.0)
    even = everything.hkl[(everything.hkl[:, 0] + everything.hkl[:, 1]) % 2 == 0]
    np.testing.assert_array_equal(centred.hkl, even)
    axis = np.array([[0, 0, n] for n in range(1, 13)])
    np.testing.assert_array_equal(np.flatnonzero(~is_absent(axis, "P 61 2 2")) + 1, [6, 12])


def test_mistakes_are_named() -> None:
    with pytest.raises(GeometryError, match="'P99' is not a space group"):
        is_absent(np.array([[1, 0, 0]]), "P99")
    with pytest.raises(GeometryError, match="is the cell right"):
        miller_near_sphere(np.eye(3) / 50000.0, np.array([0, 0, -1.0]), 1.0, 1e-3)
