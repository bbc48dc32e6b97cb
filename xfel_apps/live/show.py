"""The state of live processing as tables for the terminal."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from xfel_apps.live.status import Status
from xfel_apps.units import duration

STYLES = {
    "growing": "bold cyan",
    "finishing": "cyan",
    "sealing": "cyan",
    "sealed": "green",
    "trouble": "bold red",
    "excluded": "dim",
    "lost": "bold red",
    "working": "bold cyan",
}
N_RUNS = 20
"""So many runs are shown, the newest; the others are counted."""
SILENT_S = 10.0
"""A daemon that has said nothing for so long is not well [s]."""

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


def show(
    status: Status, *, is_there: bool, with_head: bool = True, now_s: float | None = None
) -> Group:
    """Return the tables of a status.

    Parameters
    ----------
    status : what the daemon wrote last
    is_there : whether it holds its lock
    with_head : whether to say how the daemon is, and its news
    now_s : the time now [s since 1970]
    """
    now_s = time.time() if now_s is None else now_s
    parts: list[RenderableType] = [_head(status, is_there, now_s)] if with_head else []
    parts.append(_runs(status.runs))
    if status.datasets:
        parts.append(_table("dataset", _DATASETS, status.datasets, now_s))
    if not with_head:
        return Group(*parts)
    if status.crews:
        parts.append(_table("crew", _CREWS, status.crews, now_s))
    parts.append(_foot(status))
    parts += [Text(line, style="dim", no_wrap=True, overflow="ellipsis") for line in status.news]
    return Group(*parts)


def _head(status: Status, is_there: bool, now_s: float) -> Text:
    who = f"daemon on {status.daemon['host']}, process {status.daemon['pid']}"
    silent_s = now_s - status.now_s
    if not is_there:
        gone = f"{who}: not there any more, since {duration(silent_s)}; below is what it knew"
        return Text(gone, style="bold red")
    if silent_s > SILENT_S:
        return Text(f"{who}: has said nothing for {duration(silent_s)}", style="yellow")
    return Text(f"{who}: at work for {duration(now_s - status.daemon['started_s'])}", style="green")


def _share(part: str, whole: str) -> Callable[[Row], str]:
    return lambda row: f"{100.0 * row[part] / row[whole]:.1f}" if row[whole] else ""


def _number(name: str, form: str = ".3g") -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else format(row[name], form)


_RUNS: tuple[Column, ...] = (
    ("shots", lambda row: str(row["n_seen"])),
    ("done", lambda row: str(row["n_done"])),
    ("hits %", _share("n_hits", "n_done")),
    ("indexed", lambda row: str(row["n_indexed"])),
    ("lattices", lambda row: str(row["n_lattices"])),
    (
        "latency",
        lambda row: "" if row["latency_s"] is None else duration(max(0, row["latency_s"])),
    ),
)
_DATASETS: tuple[Column, ...] = (
    ("version", lambda row: row["version"] + ("" if row["is_final"] else " (live)")),
    ("made", lambda row: f"{duration(row['age_s'])} ago"),
    ("runs", lambda row: str(row["n_runs"])),
    ("crystals", lambda row: str(row["n_crystals"])),
    ("d_min", _number("d_min_ang", ".2f")),
    ("CC1/2", _number("cc_half", ".3f")),
    ("compl. %", lambda row: f"{100.0 * row['completeness']:.1f}"),
    ("mult.", _number("multiplicity", ".1f")),
)
_CREWS: tuple[Column, ...] = (
    ("pool", lambda row: row["pool"]),
    ("host", lambda row: row["host"]),
    ("ranks", lambda row: str(row["n_ranks"] or "")),
    ("shots", lambda row: str(row["n_shots"])),
    ("shots/s", _number("shots_hz")),
    ("beat", lambda row: "" if row["beat_age_s"] is None else f"{row['beat_age_s']:.0f} s ago"),
)


def _runs(runs: Sequence[Row]) -> Table:
    shown = runs[-N_RUNS:]
    title = "run" if len(shown) == len(runs) else f"run (the last {N_RUNS} of {len(runs)})"
    table = _empty(title, _RUNS, with_state=True)
    table.add_column("")
    with_trial = len({row["trial"] for row in runs}) > 1
    for row in shown:
        name = f"{row['trial']}/{row['run']}" if with_trial else row["run"]
        cells = [cell(row) for _, cell in _RUNS]
        table.add_row(name, _state(row), *cells, Text(row["trouble"], style="red"))
    if not runs:
        table.add_row("none yet")
    return table


def _table(title: str, columns: Sequence[Column], rows: Sequence[Row], now_s: float) -> Table:
    with_state = title == "crew"
    table = _empty(title, columns, with_state=with_state)
    with_trial = len({row.get("trial") for row in rows}) > 1
    for row in rows:
        name = row["name"] if with_state else row["dataset"]
        if with_trial:
            name = f"{row['trial']}/{name}"
        row = {**row, "age_s": max(0.0, now_s - row["made_s"]) if "made_s" in row else None}
        state = [_state(row)] if with_state else []
        table.add_row(name, *state, *(cell(row) for _, cell in columns))
    return table


def _empty(title: str, columns: Sequence[Column], *, with_state: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(title, no_wrap=True)
    if with_state:
        table.add_column("state", no_wrap=True)
    for name, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _state(row: Row) -> Text:
    return Text(row["state"], style=STYLES.get(row["state"], ""))


def _foot(status: Status) -> Text:
    chunks = status.chunks
    late = f" and {chunks['late']} of other trials" if chunks["late"] else ""
    text = f"chunks: {chunks['live']} waiting{late}, {chunks['taken']} taken, {chunks['done']} done"
    for pool, blocks in status.blocks.items():
        text += f"; {pool}: {blocks['running']} of {blocks['most']} blocks"
        text += f" (and {blocks['pending']} queued)" if blocks["pending"] else ""
    if status.tasks:
        text += f"; under way: {', '.join(status.tasks)}"
    return Text(text)
