"""Questions that the catalog answers: functions of a session that return small frozen records."""

from xfel_apps.catalog.queries.datasets import (
    dataset,
    datasets,
    differences,
    merge_bins,
    trial,
    trials,
    versions,
)
from xfel_apps.catalog.queries.events import crystals, events
from xfel_apps.catalog.queries.jobs import audit, job, jobs, pulse
from xfel_apps.catalog.queries.rows import (
    AuditInfo,
    BinInfo,
    CrystalInfo,
    DatasetInfo,
    Difference,
    EventInfo,
    ExperimentInfo,
    GroupInfo,
    JobInfo,
    LatticeInfo,
    RunInfo,
    TrialInfo,
    VersionInfo,
)
from xfel_apps.catalog.queries.runs import experiments, groups, lattices, runs, tags

__all__ = [
    "AuditInfo",
    "BinInfo",
    "CrystalInfo",
    "DatasetInfo",
    "Difference",
    "EventInfo",
    "ExperimentInfo",
    "GroupInfo",
    "JobInfo",
    "LatticeInfo",
    "RunInfo",
    "TrialInfo",
    "VersionInfo",
    "audit",
    "crystals",
    "dataset",
    "datasets",
    "differences",
    "events",
    "experiments",
    "groups",
    "job",
    "jobs",
    "lattices",
    "merge_bins",
    "pulse",
    "runs",
    "tags",
    "trial",
    "trials",
    "versions",
]
