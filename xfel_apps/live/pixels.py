"""Which sealed runs are to be refined against their pixels, for the final versions of datasets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.experiment import Experiment
from xfel_apps.live.merges import Version

INPUTS = ("events", "spots", "crystals", "reflections")


@dataclass(frozen=True)
class Refining:
    """A run that is to be refined, or has been.

    Attributes
    ----------
    dataset, run : which
    merged, refined : manifests that it starts from and that it gives
    """

    dataset: str
    run: str
    merged: Path
    refined: Path

    def arguments(self, trial: Path, experiment: Experiment) -> list[str]:
        """Return the arguments of `xfel_apps.diffbragg`."""
        files = [f"--{name}={trial / self.run / name}.json" for name in INPUTS]
        settings = ["--settings", experiment.diffbragg.canonical()]
        worker = ["--worker", experiment.worker.canonical()]
        return [*files, f"--merged={self.merged}", f"--refined={self.refined}", *settings, *worker]


def of_versions(experiment: Experiment, versions: Mapping[str, Version]) -> list[Refining]:
    """Return what the batch would refine: every run of each dataset's version of sealed runs.

    Parameters
    ----------
    experiment : says whether shots are refined
    versions : newest version of each dataset
    """
    if experiment.pixels == "none":
        return []
    return [
        Refining(dataset, run, version.path, version.path.parent / run / "refined.json")
        for dataset, version in versions.items()
        if version.is_final
        for run in version.manifest.inputs
    ]
