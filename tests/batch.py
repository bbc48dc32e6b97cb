"""All stages of an experiment in this process: what other ways to run them must equal."""

from pathlib import Path

from xfel_apps.experiment import Experiment
from xfel_apps.launch import launch
from xfel_apps.process.chain import PER_SHOT

DATASET = "all"


def run_batch(experiment: Experiment, trial: Path) -> None:
    """Process and merge the runs of an experiment; write everything below the folder `trial`."""
    for run, raw in experiment.runs.items():
        files = {n: str(trial / run / f"{n}.json") for n in ("events", *(p[2] for p in PER_SHOT))}
        launch("ingest", [*raw, "--run", run, "--events", files["events"]])
        for stage, inputs, output in PER_SHOT:
            arguments = [x for name in (*inputs, output) for x in (f"--{name}", files[name])]
            launch(stage, [*arguments, "--settings", experiment.section(stage).canonical()])
    reflections = [str(trial / run / "reflections.json") for run in experiment.runs]
    merged = str(trial / "datasets" / DATASET / "v001" / "merged.json")
    options = ["--merged", merged, "--settings", experiment.merge.canonical(), "--key", "local"]
    launch("merge", ["--reflections", *reflections, *options])
