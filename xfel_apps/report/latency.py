"""How soon the shots of a trial that was processed live had their results."""

import pandas as pd

from xfel_apps.containers.results import LIVE
from xfel_apps.latency import latencies_of, summarize
from xfel_apps.report.tables import Table
from xfel_apps.report.trial import Trial
from xfel_apps.units import brief


def of_trial(trial: Trial) -> pd.DataFrame | None:
    """Return the latencies of the runs that were processed live; None if none was."""
    live = [run for run in trial.runs if (run.folder / LIVE / "chunks").is_dir()]
    found = [latencies_of(run.folder).assign(run=run.name) for run in live]
    whole = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return whole if len(whole) else None


def table(found: pd.DataFrame) -> Table:
    """Return the quantiles by run and stage."""
    rows = [
        (run, stage, f"{item.n:,}", *map(brief, (item.median_s, item.p90_s, item.p99_s)))
        for run, stages in summarize(found).items()
        for stage, item in stages.items()
    ]
    caption = "Time from when a frame was complete on disk to when it first had the result."
    return Table(("run <", "stage <", "shots", "median", "90 %", "99 %"), rows, caption)
