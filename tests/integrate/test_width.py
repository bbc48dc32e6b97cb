"""The width of reflections is found from intensities that follow Wilson's statistics."""

import numpy as np
import pytest

from xfel_apps.geometry.mosaic import falls_to
from xfel_apps.integrate.width import MARGIN, width_scale


def intensities(
    rng: np.random.Generator, true_scale: float, aliens: float = 0.0, n: int = 600
) -> tuple[np.ndarray, ...]:
    """Distances up to twice the model's width; spots of mean 60 on noise of 8 photons."""
    distance = rng.uniform(0, 2, n)
    share = falls_to(distance / true_scale, "gaussian")
    share[rng.random(n) < aliens] = 1.0
    clean = rng.exponential(60.0, n) * share
    variance = np.full(n, 64.0) + clean
    return distance, rng.normal(clean, np.sqrt(variance)), variance, rng.uniform(2, 9, n)


@pytest.mark.parametrize("true_scale", [0.3, 0.6, 1.0, 1.3])
@pytest.mark.parametrize("aliens", [0.0, 0.04])
def test_true_width_is_found(true_scale: float, aliens: float) -> None:
    rng = np.random.default_rng(int(100 * true_scale))
    found = [
        width_scale(*intensities(rng, true_scale, aliens), "gaussian") / MARGIN for _ in range(12)
    ]
    assert np.median(found) == pytest.approx(true_scale, rel=0.12)


def test_nothing_to_see_leaves_the_model_as_it_is() -> None:
    assert width_scale(*(np.empty(0),) * 4, "gaussian") == 1.0
