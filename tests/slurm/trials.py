"""Trials of simulated runs on the Slurm cluster, and what came of them."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import gemmi
import numpy as np
import pandas as pd
import yaml

from tests.batch import DATASET, run_batch
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import PLUGIN, REPO, user
from xfel_apps import mpi
from xfel_apps.config import read_yaml
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.experiment import Experiment
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings

EXACT = ["H", "K", "L", "N"]
SMALL = {
    "shots_per_file": 8,
    "hit_fraction": 0.75,
    "weak_fraction": 0.0,
    "crystal": {"d_min_ang": 2.5},
    "detector": {"module_px": [640, 640], "distance_mm": 60.0},
}


def simulate_runs(folder: Path, runs: int, shots: int) -> dict[str, Path]:
    """Write runs of so many shots each; return their folders by name."""
    found = {}
    for seed in range(runs):
        name = f"r{seed + 1:04d}"
        settings = SimulateSettings.checked({**SMALL, "shots": shots, "seed": seed})
        found[name] = simulate(settings, folder / name, mpi.serial()).parent
    return found


def write_experiment(path: Path, runs: Mapping[str, Path], **sections: object) -> Path:
    """Write an experiment file that merges all runs; return where it is."""
    data = {
        "runs": {name: [str(folder)] for name, folder in runs.items()},
        "datasets": {DATASET: sorted(runs)},
        "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"},
        "merge": {"d_min_ang": 3.0},
        "worker": {"flush_s": 0.5},
        **sections,
    }
    path.write_text(yaml.safe_dump(data))
    return path


@dataclass
class Trial:
    """A folder in the home of the cluster's user, with an experiment file and its results."""

    cluster: Cluster
    folder: Path
    experiment: Path
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def make(
        cls, cluster: Cluster, name: str, runs: Mapping[str, Path], **sections: object
    ) -> "Trial":
        """Return an empty trial on these runs."""
        folder = cluster.home / name
        cluster.run("mkdir", str(folder), user=user())
        return cls(cluster, folder, write_experiment(folder / "experiment.yaml", runs, **sections))

    @property
    def results(self) -> Path:
        """Folder of the trial's results."""
        return self.folder / "results" / "000"

    @contextmanager
    def snakemake(self, profile: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        """Start the workflow as the cluster's user; it prints to `log` and is ended at last.

        There are two nodes for the shots, with one rank each.
        """
        command = [
            *self.cluster.become(user()), sys.executable, "-m", "snakemake",
            "--snakefile", str(REPO / "Snakefile"), "--profile", str(REPO / "profiles" / profile),
            "--directory", str(self.folder), "--configfile", str(self.experiment), *options,
        ]  # fmt: skip
        environment = {
            **self.cluster.environment, "PYTHONPATH": f"{PLUGIN}{os.pathsep}{REPO}",
            "XFELFLOW_NODES": "2", "XFELFLOW_RANKS": "1", **self.environment,
        }  # fmt: skip
        with self.log.open("w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    @property
    def log(self) -> Path:
        """What the workflow prints."""
        return self.folder / "snakemake.log"

    def run_locally(self) -> None:
        """Run all stages in this process."""
        run_batch(Experiment.checked(read_yaml(self.experiment)), self.results)

    def merged(self) -> pd.DataFrame:
        """Return the merged data."""
        path = self.results / "datasets" / DATASET / "v001" / "merged.mtz"
        mtz = gemmi.read_mtz_file(str(path))
        table = pd.DataFrame(np.array(mtz), columns=mtz.column_labels())
        return table.sort_values(["H", "K", "L"], ignore_index=True)

    def processed(self) -> Counter[tuple[str, str, int]]:
        """Return how often each event of each product lies in any part file, adopted or not."""
        found: Counter[tuple[str, str, int]] = Counter()
        for product in (SPOTS, CRYSTALS, REFLECTIONS):
            for path in self.results.glob(f"*/{product.name}/rank-*.h5"):
                reader = ProductReader([path], product)
                run = path.parents[1].name
                found.update((run, product.name, int(event)) for event in reader.events)
                reader.close()
        return found


def assert_same(found: Trial, expected: Trial) -> None:
    """Say that merged data are equal, no event is lost and none was processed twice.

    Of few crystals, merging makes a thousandth of sigma of what rounding leaves in orientations.
    """
    ours, theirs = found.merged(), expected.merged()
    pd.testing.assert_frame_equal(ours[EXACT], theirs[EXACT])
    assert (ours["IMEAN"] - theirs["IMEAN"]).abs().lt(0.01 * theirs["SIGIMEAN"]).all()
    processed = found.processed()
    assert set(processed.values()) == {1}
    assert processed == expected.processed()
