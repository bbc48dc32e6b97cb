"""Integrating simulated shots whose every photon is known."""

from dataclasses import replace

import numpy as np
import pytest

from xfel_apps.compute.integration import Sums
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.geometry.prediction import Lattice, Predictions, predict
from xfel_apps.integrate.look import is_clean
from xfel_apps.integrate.predicted import Shot
from xfel_apps.integrate.rows import best_estimate, flags_of, reflection_rows
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import Integrated, integrate_shot

BEAM = Beam(1.3)
DETECTOR = Detector(
    (
        Panel("upper", (-51.0, 51.0, -90.0), (1, 0, 0), (0, -1, 0), (0.1, 0.1), (505, 1020)),
        Panel(
            "lower", (-51.2, 0.3, -90.0), (1, 0, 0), (0, -1, 0), (0.1, 0.1), (505, 1020), (505, 0)
        ),
    ),
    (1010, 1020),
)
SIGMA_PX = 0.8
BACKGROUND = 6.0


def lattice(seed: int) -> Lattice:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return Lattice(
        turn @ np.diag([1 / 79.2, 1 / 79.2, 1 / 38.0]), "P 43 21 2", Mosaic(0.05, 1500.0)
    )


def strength(found: Predictions, rng: np.random.Generator, scale: float) -> np.ndarray:
    """Photons of each spot: Wilson statistics with a fall-off."""
    fall = np.exp(-30.0 * (found.q_length_invang / 2) ** 2)
    return np.asarray(rng.exponential(scale * fall))


def frame_with(found: Predictions, photons: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson frame with a Gaussian spot at each prediction, cut at the panels' edges."""
    frame = np.full(DETECTOR.slab_shape, BACKGROUND)
    for panel, fast, slow, n in zip(
        found.panel, found.fast_px, found.slow_px, photons, strict=True
    ):
        view = frame[DETECTOR.panels[panel].slab]
        rows, columns = (np.arange(size) + 0.5 for size in view.shape)
        s = np.exp(-0.5 * ((rows - slow) / SIGMA_PX) ** 2)
        f = np.exp(-0.5 * ((columns - fast) / SIGMA_PX) ** 2)
        box = np.ix_(s > 1e-8, f > 1e-8)
        view[box] += n * np.outer(s[s > 1e-8], f[f > 1e-8]) / (2 * np.pi * SIGMA_PX**2)
    return rng.poisson(frame).astype(np.int32)


def shot_of(frame: np.ndarray) -> Shot:
    return Shot(frame, np.ones(frame.shape, dtype=bool), DETECTOR, BEAM, 2.5)


def truth_of(done: Integrated, found: Predictions, photons: np.ndarray) -> np.ndarray:
    table = {tuple(h): n for h, n in zip(found.hkl.tolist(), photons, strict=True)}
    return np.array([table[tuple(h)] for h in done.found.hkl.tolist()])


def simulated(seed: int, scale: float = 800.0) -> tuple[Integrated, np.ndarray]:
    rng = np.random.default_rng(seed)
    crystal = lattice(seed)
    found = predict(crystal, DETECTOR, BEAM, 2.2, reach=2.0)
    photons = strength(found, rng, scale)
    shot = shot_of(frame_with(found, photons, rng))
    settings = IntegrateSettings(d_min_ang=2.2, reach=2.0, refine_width=False)
    done = integrate_shot(shot, [crystal], [2.5], settings)
    return done, truth_of(done, found, photons)


def test_intensities_are_the_photons_put_in() -> None:
    """Sums and profile fits of twenty shots: no bias, sigmas as large as the errors."""
    results = [simulated(seed) for seed in range(20)]
    assert np.mean([done.is_fitted for done, _ in results]) > 0.8
    parts = []
    for done, truth in results:
        clean = is_clean(done.sums)
        value, variance = best_estimate(done)
        parts.append(np.column_stack([value, variance, done.sums.intensity_sum, truth])[clean])
    value, variance, summed, truth = np.concatenate(parts).T
    for estimate in (value, summed):
        assert abs(np.sum(estimate) / np.sum(truth) - 1.0) < 0.02
        weak = truth < 60
        error = estimate[weak] - truth[weak]
        assert abs(error.mean()) < 4.0 * error.std() / np.sqrt(len(error)) + 0.3
    chi2 = (value - truth) ** 2 / (variance + (0.02 * truth) ** 2)
    assert 0.8 < np.mean(chi2) < 1.25
    assert np.std(value[weak] - truth[weak]) < 0.85 * np.std(summed[weak] - truth[weak])


def test_spots_beside_their_predictions_are_found() -> None:
    """Moved by up to two pixels, as by a beam centre and a distance that are off: none is lost."""
    rng = np.random.default_rng(7)
    crystal = lattice(7)
    found = predict(crystal, DETECTOR, BEAM, 2.2, reach=2.0)
    photons = strength(found, rng, 800.0)
    fast, slow = DETECTOR.slab_pixels(found.panel, found.fast_px, found.slow_px)
    move = np.array([0.8 + (fast - 510) / 500, -0.6 + (slow - 505) / 500])
    moved = replace(found, fast_px=found.fast_px + move[0], slow_px=found.slow_px + move[1])
    settings = IntegrateSettings(d_min_ang=2.2, reach=2.0, refine_width=False)
    totals = []
    for shown in (found, moved):
        done = integrate_shot(shot_of(frame_with(shown, photons, rng)), [crystal], [2.5], settings)
        truth, clean = truth_of(done, found, photons), is_clean(done.sums)
        totals.append([done.sums.intensity_sum[clean].sum(), truth[clean].sum()])
        assert done.sums.n_foreground[clean].mean() < 40
    there, displaced = np.array(totals)
    assert abs(displaced[0] / displaced[1] - 1.0) < 0.03
    assert abs(there[0] / there[1] - 1.0) < 0.03


def test_shots_without_strong_spots_are_summed() -> None:
    done, _ = simulated(3, scale=30.0)
    assert not done.is_fitted
    value, _ = best_estimate(done)
    np.testing.assert_array_equal(value, done.sums.intensity_sum)


def test_two_lattices_flag_the_spots_they_share() -> None:
    rng = np.random.default_rng(5)
    first = lattice(1)
    second = replace(first, a_matrix=first.a_matrix * 1.0005)
    other = lattice(2)
    shot = shot_of(rng.poisson(BACKGROUND, DETECTOR.slab_shape).astype(np.int32))
    settings = IntegrateSettings(d_min_ang=2.5, min_share=0.8)
    alone = integrate_shot(shot, [first], [3.0], settings)
    twins = integrate_shot(shot, [first, second], [3.0, 3.0], settings)
    strangers = integrate_shot(shot, [first, other], [3.0, 3.0], settings)
    overlapped = [np.mean(flags_of(x.sums, settings) & 1) for x in (alone, strangers, twins)]
    assert overlapped[0] < 0.02
    assert overlapped[0] < overlapped[1] < 0.1
    assert overlapped[2] > 0.9


def test_the_limit_is_where_the_spots_end() -> None:
    """Spots to 3.2 Angstrom and none beyond: the limit is near, whatever the detector's corner."""
    limits = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        crystal = lattice(seed)
        found = predict(crystal, DETECTOR, BEAM, 1.9, reach=2.0)
        photons = np.where(found.q_length_invang < 1 / 3.2, strength(found, rng, 3000.0), 0.0)
        shot = shot_of(frame_with(found, photons, rng))
        done = integrate_shot(shot, [crystal], [5.0], IntegrateSettings(resolution_margin=1.0))
        limits += done.limits_ang
        assert (done.found.q_length_invang <= 1 / done.limits_ang[0]).all()
    assert 2.9 < np.median(limits) < 3.5


def test_rows_of_the_product() -> None:
    done, _ = simulated(1)
    rows = reflection_rows(done, BEAM, IntegrateSettings())
    near = np.abs(rows.excitation_invang) < 1e-5
    assert near.any()
    np.testing.assert_allclose(rows.partiality[near], 1.0, atol=0.01)
    assert 0.05 < rows.partiality.min() < 0.1
    np.testing.assert_allclose(rows.d_ang, 1 / done.found.q_length_invang, rtol=1e-6)
    assert ((rows.polarization > 0.3) & (rows.polarization <= 1.0)).all()
    on_lower = rows.panel == 1
    assert on_lower.any()
    assert (rows.slow_px[on_lower] <= 505).all()


@pytest.mark.parametrize(
    ("column", "flag"),
    [("n_shared", 1), ("n_saturated", 2), ("n_masked", 4), ("n_outside", 8), ("n_background", 16)],
)
def test_flags(column: str, flag: int) -> None:
    good = {name: np.zeros(3) for name in vars(Sums.empty())}
    good["n_background"] = np.full(3, 100.0)
    good["share"] = np.array([1.0, 0.7, 0.5])
    good[column] = good[column] + np.array([0.0, 1.0, 1.0 if flag < 16 else -95.0])
    spared = flag if column == "n_saturated" else 0
    assert flags_of(Sums(**good), IntegrateSettings()).tolist() == [0, spared, flag]
