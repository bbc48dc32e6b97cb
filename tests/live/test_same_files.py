"""Live, sealed and merged: the batch finds nothing left to do, and would have found the same."""

from pathlib import Path

import gemmi
import numpy as np
import pytest
import yaml

from tests.live.crews import RUN, LiveTrial
from tests.live.same import assert_same_products
from tests.workflow.test_workflow import planned
from xfel_apps import mpi
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.experiment import Experiment
from xfel_apps.launch import launch
from xfel_apps.live.chunk import Facts
from xfel_apps.live.crew.__main__ import main as crew
from xfel_apps.live.seal import seal

MERGE = {"d_min_ang": 3.0}


def merge(reflections: Path, merged: Path, experiment: Experiment, key: str = "") -> np.ndarray:
    """Merge one run; return the columns of the merged data."""
    arguments = ["--reflections", str(reflections), "--merged", str(merged), "--key", key]
    launch("merge", [*arguments, "--settings", experiment.merge.canonical()])
    return np.array(gemmi.read_mtz_file(str(merged.with_suffix(".mtz"))))


@pytest.fixture
def sealed(batch, tmp_path) -> LiveTrial:
    """Return a trial that a crew has processed, the last file first, and that was sealed."""
    sections = {
        "runs": {RUN: [str(path) for path in batch.raw]},
        "datasets": {"all": [RUN]},
        "merge": MERGE,
    }
    trial = LiveTrial.make(tmp_path / "results", batch.raw[::-1], **sections)
    trial.put(Facts(batch.facts.hot_pixels, batch.facts.gain_adu))
    assert crew(trial.arguments(), mpi.serial()) == 0
    assert len(trial.done()) == 3
    taken = seal(mpi.serial(), trial.run, trial.experiment).taken
    counts = batch.manifest(REFLECTIONS).outcomes
    assert (taken["spots"], taken["reflections"]) == (24, counts["integrated"])
    return trial


def test_the_batch_has_nothing_left_to_do_and_finds_the_same(batch, sealed, tmp_path):
    assert_same_products(sealed.run.products, batch.folder)
    experiment = sealed.experiment
    key = experiment.dataset_key("all")
    merged = experiment.version_folder("all", key) / "merged.json"
    found = merge(sealed.run.products / "reflections.json", merged, experiment, key)
    expected = merge(batch.folder / "reflections.json", tmp_path / "merged.json", experiment)
    assert len(expected) > 900
    np.testing.assert_array_equal(found, expected)
    launch("report", [str(experiment.folder)])
    text = yaml.safe_dump(experiment.model_dump(mode="json"))
    (experiment.folder / "experiment.yaml").write_text(text)
    assert not planned(experiment.folder / "experiment.yaml")
