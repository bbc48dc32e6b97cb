"""The state of all runs below a folder as a table for the terminal."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Group
from rich.table import Table
from rich.text import Text

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.results import run_folders
from xfel_apps.status.progress import StageProgress, State, stages_of
from xfel_apps.units import duration

STYLES = {
    State.DONE: "green",
    State.RUNNING: "bold cyan",
    State.STOPPED: "yellow",
    State.OUTDATED: "yellow",
    State.WAITING: "dim",
}
N_REASONS = 8


def show_status(folder: Path) -> Group:
    """Return what is done, running and failed in the runs at or below `folder`, to be printed.

    Reads containers while apps write them; a stage counts as stopped when its files were not
    written for a minute and a half.
    """
    stages = [stage for path in run_folders(folder) for stage in stages_of(path)]
    parts: list[Table | Text] = [_stage_table(stages)]
    if any(stage.failures for stage in stages):
        parts.append(_failure_table(stages))
    hints = [text for text in (_hint(stage) for stage in stages) if text]
    parts += [Text(text, style="yellow") for text in dict.fromkeys(hints)]
    return Group(*parts)


def _stage_table(stages: Sequence[StageProgress]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "stage", "state"):
        table.add_column(name, no_wrap=True)
    for name in ("shots", "of", "shots/s", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("outcomes")
    previous = ""
    for stage in stages:
        table.add_row(
            "" if stage.run == previous else stage.run,
            stage.stage,
            Text(stage.state, style=STYLES[stage.state]),
            f"{stage.n_done}" if stage.written_s else "",
            "" if stage.n_total is None else f"{stage.n_total}",
            "" if stage.rate_hz is None else f"{stage.rate_hz:.3g}",
            "" if stage.left_s is None else duration(stage.left_s),
            _outcomes(stage),
        )
        previous = stage.run
    return table


def _outcomes(stage: StageProgress) -> str:
    counts = [(name, stage.outcomes.get(name, 0)) for name in map(str, Outcome)]
    return ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts if n)


def _failure_table(stages: Sequence[StageProgress]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("failed", justify="right")
    table.add_column("run", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("reason")
    rows = [(n, s.run, s.stage, reason) for s in stages for reason, n in s.failures.items()]
    rows.sort(key=lambda row: -row[0])
    for n, run, stage, reason in rows[:N_REASONS]:
        table.add_row(f"{n}", run, stage, Text(reason))
    if len(rows) > N_REASONS:
        table.add_row(
            "", "", "", f"and {len(rows) - N_REASONS} more reasons (`xfelflow table events`)"
        )
    return table


def _hint(stage: StageProgress) -> str:
    """Return what to do about a stage that stands still; empty where nothing is to be done."""
    if stage.state is State.STOPPED:
        ago = duration(time.time() - stage.written_s)
        return f"{stage.stage} {stage.run} stopped {ago} ago; run the same command to go on"
    if stage.state is State.OUTDATED:
        return f"{stage.stage} {stage.run} was made from older input; run it again"
    return ""
