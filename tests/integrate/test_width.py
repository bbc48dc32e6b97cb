"""The mosaic model is found from intensities that follow Wilson's statistics."""

import numpy as np
import pytest

from xfel_apps.containers.reflections import MosaicFits
from xfel_apps.geometry.mosaic import Mosaic
from xfel_apps.integrate.spread import pooled
from xfel_apps.integrate.width import SPREADS_DEG, Seen, fit_width

BLOCK_ANG = 1550.0


def seen(rng: np.random.Generator, truth: Mosaic, aliens: float = 0.0, n: int = 600) -> Seen:
    """Reflections to 2 Angstrom and twice the width; spots that fall off, on noise of 8 photons."""
    size = np.sqrt(rng.uniform(0.05**2, 0.5**2, n))
    excitation = 2.4 * truth.half_width_invang(size) * rng.uniform(-1, 1, n)
    share = truth.partiality(excitation, size)
    share[rng.random(n) < aliens] = 1.0
    clean = rng.exponential(300.0 * np.exp(-12.0 * size**2)) * share
    variance = 64.0 + clean
    return Seen(excitation, size, rng.normal(clean, np.sqrt(variance)), variance, np.ones(n))


@pytest.mark.parametrize("spread_deg", [0.0, 0.05, 0.12, 0.3])
@pytest.mark.parametrize("aliens", [0.0, 0.04])
def test_true_model_is_found(spread_deg: float, aliens: float) -> None:
    """Each lattice's width to some percent; together the spread too."""
    rng = np.random.default_rng(int(1000 * spread_deg))
    truth = Mosaic(spread_deg, BLOCK_ANG)
    fits = [
        fit_width(seen(rng, truth, aliens), truth.scaled(rng.uniform(0.7, 1.3)), "gaussian")
        for _ in range(12)
    ]
    middle = np.array([0.3])
    ratio = [fit.mosaic.half_width_invang(middle) / truth.half_width_invang(middle) for fit in fits]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.08)
    assert np.std(ratio) < 0.12
    spread, error = pooled(np.array([fit.log_likelihood for fit in fits]))
    assert spread == pytest.approx(spread_deg, rel=0.2, abs=0.025)
    assert 0.0 < error < 0.03


def test_nothing_to_see_leaves_the_model_as_it_is() -> None:
    empty = Seen(*(np.empty(0),) * 5)
    found = fit_width(empty, Mosaic(0.1, 900.0), "gaussian")
    assert found.mosaic == Mosaic(0.1, 900.0)
    assert not found.log_likelihood.any()


def test_runs_without_lattices_say_nothing() -> None:
    assert pooled(np.zeros((0, len(SPREADS_DEG)))) == (0.0, 0.0)
    assert MosaicFits.schema()["log_likelihood"]["shape"] == SPREADS_DEG.shape
