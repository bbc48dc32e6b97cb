"""What a plan says of a shift is what a real Slurm does with it."""

import numpy as np
import pytest

from tests.slurm.shift import calibrate, compare, play, predict, small_shift, work_of


@pytest.mark.slow
def test_waits_and_node_time_are_as_predicted(slurm):
    """Preemptible jobs take 8 s to leave, so that waits do not drown in the cluster's own time."""
    settings = small_shift(shift_s=90, give_way_s=8, calibration=calibrate(slurm))
    jobs = work_of(settings, seed=0)
    assert len(jobs) >= 8
    found = compare(settings, jobs, predict(settings, jobs), play(slurm, settings, jobs))
    predicted_s, measured_s = found.waits_s
    for percent in (50, 90):
        expected_s = float(np.percentile(predicted_s, percent))
        assert np.percentile(measured_s, percent) == pytest.approx(expected_s, rel=0.3, abs=4)
    figures = found.figures()
    assert figures["used_measured"] == pytest.approx(figures["used_predicted"], abs=0.12)
