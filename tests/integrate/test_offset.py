"""Where spots lie beside their predictions, against moves that were put in."""

import numpy as np

from tests.integrate.test_shot import BEAM, DETECTOR, lattice
from xfel_apps.geometry.prediction import predict
from xfel_apps.integrate.frames import Frames
from xfel_apps.integrate.offset import Offsets

SPREADS = np.diag([4.0, 1.0, 0.3])
"""Covariance of the turns of a crystal's blocks about the lab's axes, up to a factor."""


def test_spots_slip_as_the_turns_that_reflect_say() -> None:
    """Turns drawn for every lattice point until one brings it to the sphere, to second order."""
    found = predict(lattice(2), DETECTOR, BEAM, 2.5, reach=2.0)
    along = found.s1 * BEAM.wavelength_ang
    lever = np.cross(found.q, along)
    width = np.einsum("ni,ij,nj->n", lever, SPREADS, lever)
    turn = (-found.excitation_invang / width)[:, None] * (lever @ SPREADS)
    slipped = np.cross(turn, found.q)
    np.testing.assert_allclose(np.sum(slipped * along, axis=1), -found.excitation_invang)
    frames = Frames.of(found, DETECTOR, BEAM)
    tangential = np.cross(BEAM.s0, along)
    tangential /= np.linalg.norm(tangential, axis=1, keepdims=True)
    throw = frames.throw_px / found.q_length_invang
    moves = np.zeros((len(found), 2))
    moves[:, 1] = throw * np.sum(slipped * tangential, axis=1)
    rng, own = np.random.default_rng(1), np.zeros(len(found), dtype=np.int64)
    seen = moves + rng.normal(0.0, 0.1, moves.shape)
    left = moves - frames_moves(Offsets.none(1).plus(seen, frames, own), frames)
    assert np.std(left[:, 1]) < 0.5 * np.std(moves[:, 1])


def test_nothing_is_moved_where_spots_only_scatter() -> None:
    found = predict(lattice(3), DETECTOR, BEAM, 2.5, reach=2.0)
    frames = Frames.of(found, DETECTOR, BEAM)
    rows = np.arange(0, len(found), 3)
    scatter = np.random.default_rng(3).normal(0.0, 0.5, (len(rows), 2))
    fields = Offsets.none(1).plus(scatter, frames.take(rows), np.zeros(len(rows), dtype=np.int64))
    assert np.sqrt(np.mean(frames_moves(fields, frames) ** 2)) < 0.25


def frames_moves(fields: Offsets, frames: Frames) -> np.ndarray:
    """Return the moves (n, 2) along (radial, tangential) [pixel]."""
    pixels = fields.at(frames, np.zeros(len(frames.throw_px), dtype=np.int64))
    return np.einsum("nij,nj->ni", frames.directions, pixels)
