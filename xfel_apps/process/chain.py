"""The stages one after the other on one run, with the files the workflow would write."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from xfel_apps.config import override
from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import SettingsError
from xfel_apps.experiment import Experiment
from xfel_apps.launch import StageFailedError, launch

RUN, DATASET = "run", "all"

PER_SHOT = (
    ("spotfind", ("events",), "spots"),
    ("index", ("events", "spots"), "crystals"),
    ("integrate", ("events", "spots", "crystals"), "reflections"),
)


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes
    ----------
    paths : raw files, folders, globs or lists of files
    out : folder for everything that is written; it becomes a trial's folder
    workers : ranks that do the work
    merge : whether to merge
    settings : what an experiment file would hold
    assignments : `section.key=value`, stronger than `settings`
    """

    paths: Sequence[str]
    out: Path
    workers: int = 1
    merge: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    assignments: Sequence[str] = ()

    def experiment(self) -> Experiment:
        """Return the checked experiment, also good for `snakemake --configfile`."""
        out = self.out.resolve()
        data = {
            **self.settings,
            "results": str(out.parent),
            "trial": out.name,
            "runs": {RUN: [str(Path(path).resolve()) for path in self.paths]},
            "datasets": {DATASET: [RUN]} if self.merge else {},
        }
        return Experiment.checked(override(data, self.assignments))


def process(request: Request) -> None:
    """Run every stage; each says on stdout what came out."""
    experiment = request.experiment()
    if not experiment.files(RUN):
        raise SettingsError("no raw files given")
    folder = request.out / RUN
    text = yaml.safe_dump(experiment.model_dump(mode="json"), sort_keys=False)
    write_text(request.out / "experiment.yaml", text)

    ingest = [*experiment.runs[RUN], "--run", RUN, "--events", str(folder / "events.json")]
    launch("ingest", [*ingest, "--settings", experiment.ingest.canonical()])
    for stage, inputs, output in PER_SHOT:
        arguments = [x for name in inputs for x in (f"--{name}", str(folder / f"{name}.json"))]
        arguments += [f"--{output}", str(folder / f"{output}.json")]
        arguments += ["--settings", experiment.section(stage).canonical()]
        arguments += ["--worker", experiment.worker.canonical()]
        launch(stage, arguments, request.workers)
    try:
        if request.merge:
            _merge(experiment, folder / "reflections.json", request)
    except StageFailedError:  # the report shows why there is nothing to merge
        launch("report", [str(request.out)])
        raise
    launch("report", [str(request.out)])


def _merge(experiment: Experiment, reflections: Path, request: Request) -> None:
    """Merge the run into the dataset's version."""
    key = experiment.dataset_key(DATASET)
    folder = request.out / experiment.version_folder(DATASET, key).relative_to(experiment.folder)
    arguments = ["--reflections", str(reflections), "--merged", str(folder / "merged.json")]
    arguments += ["--key", key]
    arguments += ["--settings", experiment.merge.canonical()]
    launch("merge", arguments, request.workers, hands_out=False)
