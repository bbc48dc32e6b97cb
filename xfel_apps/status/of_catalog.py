"""What the catalog adds to the state of the runs: datasets and their versions, and jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from xfel_apps.catalog import queries
from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.queries import DatasetInfo, JobInfo, VersionInfo
from xfel_apps.errors import CatalogError

SHOWN_JOBS = ("running", "failed")
N_JOBS = 8


@dataclass(frozen=True)
class CatalogState:
    """What a catalog says of an experiment now.

    Attributes
    ----------
    url : where it is
    datasets : of all trials
    versions : id of a dataset -> its newest version that is made
    jobs : those that run or have failed, newest first
    trouble : why it does not answer; empty if it does
    """

    url: str
    datasets: Sequence[DatasetInfo] = ()
    versions: dict[int, VersionInfo] = field(default_factory=dict)
    jobs: Sequence[JobInfo] = ()
    trouble: str = ""


def catalog_state(catalog: Catalog, experiment: str) -> CatalogState:
    """Return what a catalog says now; trouble with it is part of that."""
    try:
        with catalog.reading() as session:
            datasets = queries.datasets(session, experiment)
            versions = {
                dataset.id: version
                for dataset in datasets
                for version in queries.versions(session, experiment, dataset.trial, dataset.name)
                if version.number == dataset.made
            }
            jobs = queries.jobs(session, experiment, SHOWN_JOBS, N_JOBS)
    except CatalogError as err:
        return CatalogState(str(catalog.url), trouble=str(err))
    return CatalogState(str(catalog.url), datasets, versions, jobs)


def show_catalog(state: CatalogState) -> Group:
    """Return what a catalog says, to be printed."""
    if state.trouble:
        return Group(Text(state.trouble, style="yellow"))
    parts: list[Table] = []
    if state.datasets:
        parts.append(_datasets(state))
    if state.jobs:
        parts.append(_jobs(state.jobs))
    return Group(*parts)


def _datasets(state: CatalogState) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "dataset", "merged"):
        table.add_column(name, no_wrap=True)
    for name in ("runs", "crystals", "complete", "CC1/2", "Rsplit"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for dataset in state.datasets:
        version = state.versions.get(dataset.id)
        overall = version.overall if version else None
        table.add_row(
            dataset.trial,
            dataset.name,
            version.name if version else "",
            f"{len(dataset.runs)}",
            f"{version.n_crystals}" if version and version.n_crystals is not None else "",
            f"{100 * overall.completeness:.1f} %" if overall else "",
            f"{overall.cc_half:.3f}" if overall and overall.cc_half is not None else "",
            f"{100 * overall.r_split:.1f} %" if overall and overall.r_split is not None else "",
            Text("due", style="yellow") if dataset.is_due else "",
        )
    return table


def _jobs(jobs: Sequence[JobInfo]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("job", "trial", "stage", "of", "state", "host"):
        table.add_column(name, no_wrap=True)
    table.add_column("says")
    for job in jobs:
        style = "red" if job.state == "failed" else "bold cyan"
        state = Text(job.state, style=style)
        says = Text(job.message or (job.log_path if job.state == "failed" else ""))
        table.add_row(f"{job.id}", job.trial, job.stage, job.subject, state, job.host, says)
    return table
