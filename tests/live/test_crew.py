"""Crews: the batch's rows from chunks, each frame read once."""

import json
import subprocess

import pandas as pd
import pytest

from tests.live.crews import LiveTrial, tables
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.live.crew.__main__ import main
from xfel_apps.mpi import serial

PRODUCTS = SPOTS, CRYSTALS, REFLECTIONS


def assert_same_as_batch(trial: LiveTrial, batch) -> None:
    for product in PRODUCTS:
        found, expected = trial.tables(product), tables(batch.reader(product))
        for name in expected:
            pd.testing.assert_frame_equal(found[name], expected[name], obj=name)
    done, counts = trial.done(), batch.manifest(REFLECTIONS).outcomes
    for outcome, n_shots in counts.items():
        assert sum(chunk["outcomes"].get(outcome, 0) for chunk in done) == n_shots
    assert not trial.waiting()


def run(trial: LiveTrial, ranks: int) -> None:
    if ranks == 1:
        assert main(trial.arguments(), serial()) == 0
    else:
        subprocess.run(trial.command(ranks), check=True, timeout=300)


@pytest.mark.parametrize("ranks", [1, 3])
def test_rows_are_those_of_the_batch(batch, tmp_path, ranks):
    trial = LiveTrial.make(tmp_path, batch.raw)
    trial.put(batch.facts)
    run(trial, ranks)
    assert_same_as_batch(trial, batch)
    said = json.loads(trial.live.crew("c1").read_text())
    assert (said["n_shots"], said["n_ranks"], said["state"]) == (24, ranks, "ended")
