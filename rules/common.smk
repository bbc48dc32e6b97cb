# The experiment as the rules see it: checked before any job starts.
import sys
from pathlib import Path

from xfel_apps.catalog.workflow import work_of
from xfel_apps.errors import XfelError
from snakemake.exceptions import WorkflowError

try:
    WORK = work_of(config)
    EXPERIMENT = WORK.experiment
    RAW = {run: EXPERIMENT.files(run) for run in EXPERIMENT.runs}
    DATASETS = {name: merge.folder for name, merge in WORK.merges.items()}
except XfelError as error:
    raise WorkflowError(str(error)) from None

# `python` and `mpiexec` are those beside the Snakemake that runs, whether its environment is active or not.
# Where srun has started that Snakemake, a job would take itself for a rank of that srun.
shell.prefix(
    f'set -euo pipefail; export PATH="{Path(sys.executable).parent}:$PATH"; '
    "unset PMI_FD PMI_RANK PMI_SIZE; "
)

TRIAL = EXPERIMENT.folder.as_posix()
WORKER = EXPERIMENT.worker.canonical()


wildcard_constraints:
    run="|".join(EXPERIMENT.runs),
    dataset="|".join(WORK.datasets) or "none",
    version=r"v\d\d\d+",


def raw_files(wildcards):
    """Return the raw files of a run, and the refined geometry that they are read with."""
    panels = EXPERIMENT.of_run(wildcards.run).ingest.panels
    return [*RAW[wildcards.run], *([panels] if panels else [])]


def raw_paths(wildcards):
    """Return the paths of a run as the experiment names them."""
    return EXPERIMENT.runs[wildcards.run]


def ingest_settings(wildcards):
    """Return the settings that a run is read with."""
    return EXPERIMENT.of_run(wildcards.run).ingest.canonical()


def dataset_runs(wildcards):
    """Return the runs of a version of a dataset."""
    return WORK.merge(wildcards.dataset, wildcards.version).runs


def dataset_reflections(wildcards):
    """Return the manifests that are merged into a version of a dataset."""
    return [f"{TRIAL}/{run}/reflections.json" for run in dataset_runs(wildcards)]


def dataset_crystals(wildcards):
    """Return the manifests whose crystals a dataset's geometry is refined from."""
    return [
        f"{TRIAL}/{run}/crystals.json" for run in EXPERIMENT.datasets[wildcards.dataset]
    ]


def refined_runs():
    """Return the manifests of all runs' shots refined for the datasets that they belong to."""
    return [
        (folder / run / "refined.json").as_posix()
        for name, folder in DATASETS.items()
        for run in WORK.merges[name].runs
    ]


def refined_factors():
    """Return the manifests of all datasets' refined structure factors."""
    return [(folder / "factors.json").as_posix() for folder in DATASETS.values()]


def refined_against_pixels():
    """Return the manifests of what the default target refines against every pixel."""
    if EXPERIMENT.pixels == "factors":
        return refined_factors()
    return refined_runs() if EXPERIMENT.pixels == "shots" else []


def dataset_events(wildcards):
    """Return the manifests of the events of a dataset's runs."""
    return [f"{TRIAL}/{run}/events.json" for run in dataset_runs(wildcards)]


def dataset_refined(wildcards):
    """Return the manifests of a dataset's shots, refined, in the order of `dataset_events`."""
    folder = f"{TRIAL}/datasets/{wildcards.dataset}/{wildcards.version}"
    return [f"{folder}/{run}/refined.json" for run in dataset_runs(wildcards)]


def dataset_key(wildcards):
    """Return the digest of what determines a dataset's version."""
    return WORK.merge(wildcards.dataset, wildcards.version).key


def workers(wildcards, threads):
    """Return the ranks of an app all of whose ranks work."""
    return threads


def workers_and_one(wildcards, threads):
    """Return the ranks of an app whose rank 0 sleeps and only hands out work."""
    return threads + 1
