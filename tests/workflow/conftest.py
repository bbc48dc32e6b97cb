"""Two small simulated runs and an experiment file over them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from xfel_apps import mpi
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings

SMALL = {
    "shots": 16,
    "shots_per_file": 8,
    "hit_fraction": 0.75,
    "weak_fraction": 0.0,
    "crystal": {"d_min_ang": 2.5},
    "detector": {"module_px": [640, 640], "distance_mm": 60.0},
}


@dataclass(frozen=True)
class SimulatedRuns:
    """Folders of the runs, by name."""

    folders: dict[str, Path]

    def experiment(self, path: Path, **sections: Any) -> Path:
        """Write an experiment file over the runs and return where it is."""
        data: dict[str, Any] = {
            "runs": {name: [str(folder)] for name, folder in self.folders.items()},
            "datasets": {"all": sorted(self.folders), "first": [min(self.folders)]},
            "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"},
            "merge": {"d_min_ang": 3.0},
        }
        for name, values in sections.items():
            merged = name in ("index", "merge", "spotfind")
            data[name] = {**data.get(name, {}), **values} if merged else values
        path.write_text(yaml.safe_dump(data))
        return path


@pytest.fixture(scope="session")
def simulated_runs(tmp_path_factory) -> SimulatedRuns:
    """Return two runs of 16 shots each on a detector of 640 x 640 pixels."""
    folder = tmp_path_factory.mktemp("simulated")
    folders = {}
    for seed, name in enumerate(("r0001", "r0002")):
        settings = SimulateSettings.checked({**SMALL, "seed": seed})
        folders[name] = simulate(settings, folder / name, mpi.serial()).parent
    return SimulatedRuns(folders)
