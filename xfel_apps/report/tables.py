"""Tables of the report: counts, rates, times and reasons, as text ready to be set."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from xfel_apps.containers.outcome import Outcome
from xfel_apps.report.trial import Trial

HITS = (Outcome.HIT_NOT_INDEXED, Outcome.INDEXED, Outcome.INTEGRATED)
STAGES = ("spotfind", "index", "integrate")
N_REASONS = 25


@dataclass(frozen=True)
class Table:
    """Rows of text below a heading.

    Attributes
    ----------
    columns : headings; those that end with " <" are text and stand left, others are numbers
    rows : cells
    total : last row, set apart; empty for none
    caption : what the table says, with units
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    total: Sequence[str] = ()


def percent(part: float, whole: float) -> str:
    """Return a share in percent, an em dash where there is no whole.

    >>> percent(1, 3), percent(0, 0)
    ('33.3 %', '—')
    """
    return f"{100.0 * part / whole:.1f} %" if whole else "—"


def seconds(value: float) -> str:
    """Return a time with three digits in s, ms or h.

    >>> seconds(0.01234), seconds(3.14159), seconds(7200)
    ('12.3 ms', '3.14 s', '2.00 h')
    """
    if value >= 3600:
        return f"{value / 3600:.2f} h"
    return f"{value:.3g} s" if value >= 0.1 else f"{1e3 * value:.3g} ms"


def counts(outcomes: "pd.Series[str]") -> dict[Outcome, int]:
    """Return the number of events by outcome, every outcome present."""
    found = outcomes.value_counts()
    return {item: int(found.get(str(item), 0)) for item in Outcome}


def run_table(trial: Trial) -> Table:
    """Return the events of each run by outcome, with the hit and indexing rates."""
    shown = [item for item in Outcome if item is not Outcome.PENDING or _any_pending(trial)]
    columns = ["run <", "shots", *(item.replace("_", " ") for item in shown)]
    rows = [
        _run_row(name, counts(rows["outcome"]), shown)
        for name, rows in trial.outcomes.groupby("run")
    ]
    total = _run_row("all", counts(trial.outcomes["outcome"]), shown)
    return Table(
        [*columns, "hit rate", "indexing rate"],
        rows,
        "Every shot ends in exactly one outcome. Hit rate: shots with a pattern, of those looked "
        "at without failing; indexing rate: shots with a lattice, of the hits.",
        total if len(rows) > 1 else (),
    )


def _any_pending(trial: Trial) -> bool:
    return bool((trial.outcomes["outcome"] == Outcome.PENDING).any())


def _run_row(name: object, found: Mapping[Outcome, int], shown: Sequence[Outcome]) -> list[str]:
    hits = sum(found[item] for item in HITS)
    lattices = found[Outcome.INDEXED] + found[Outcome.INTEGRATED]
    return [
        str(name),
        f"{sum(found.values()):,}",
        *(f"{found[item]:,}" for item in shown),
        percent(hits, hits + found[Outcome.MISS]),
        percent(lattices, hits),
    ]


def rate_table(trial: Trial) -> Table:
    """Return shots a second by run and stage, by the wall clock and by processor time."""
    rows = []
    for (run, stage), part in _by(trial.times, ["run", "stage"]):
        wall_s = float(part["end_s"].max() - part["start_s"].min())
        cpu_s = float(part["cpu_s"].sum())
        rows.append(
            [
                str(run),
                str(stage),
                f"{len(part):,}",
                f"{part['rank'].nunique()}",
                seconds(wall_s),
                f"{len(part) / max(wall_s, 1e-9):.3g}",
                f"{len(part) / max(cpu_s, 1e-9):.3g}",
                percent(float((part["end_s"] - part["start_s"]).sum()), wall_s * _ranks(part)),
            ]
        )
    return Table(
        ["run <", "stage <", "shots", "ranks", "wall", "shots/s", "shots/CPU s", "busy"],
        rows,
        "Rate by the wall clock, all ranks together, from the first shot's start to the last one's "
        "end, and by processor time of one core. “busy”: share of the ranks’ time spent on shots.",
    )


def _ranks(part: pd.DataFrame) -> int:
    return max(int(part["rank"].nunique()), 1)


def _by(frame: pd.DataFrame, keys: list[str]) -> list[tuple[tuple[str, ...], pd.DataFrame]]:
    """Return groups in order of run and of the stages in the data flow."""
    if not len(frame):
        return []
    groups = [(tuple(map(str, key)), part) for key, part in frame.groupby(keys)]
    return sorted(groups, key=lambda group: (*group[0][:-1], STAGES.index(group[0][-1])))


def time_table(trial: Trial) -> Table:
    """Return processor time a shot, by stage and by how the stage left the shot."""
    rows = []
    whole_s = float(trial.times["cpu_s"].sum()) if len(trial.times) else 0.0
    for (stage,), part in _by(trial.times, ["stage"]):
        for outcome, cpu_s in part.groupby("outcome")["cpu_s"]:
            rows.append(
                [
                    str(stage),
                    str(outcome).replace("_", " "),
                    f"{len(cpu_s):,}",
                    *(seconds(float(x)) for x in (cpu_s.median(), cpu_s.quantile(0.95))),
                    seconds(float(cpu_s.max())),
                    seconds(float(cpu_s.sum())),
                    percent(float(cpu_s.sum()), whole_s),
                ]
            )
    return Table(
        ["stage <", "left as <", "shots", "median", "95 %", "longest", "in all", "share"],
        rows,
        "Processor time a shot by stage and by what the stage made of the shot.",
    )


def dominating(trial: Trial) -> str:
    """Return one sentence: which stage takes most of the processor time."""
    if not len(trial.times):
        return "No stage has processed a shot yet."
    by_stage = trial.times.groupby("stage")["cpu_s"].sum()
    stage, share = by_stage.idxmax(), by_stage.max() / max(float(by_stage.sum()), 1e-9)
    per_shot = float(by_stage.sum()) / len(trial.outcomes)
    text = f"{stage} dominates with {100 * share:.0f} % of the processor time"
    return f"{text}; the whole chain takes {seconds(per_shot)} of a core a shot on average."


def reason_table(trial: Trial) -> Table:
    """Return why shots failed, were not indexed or were missed, alike reasons together."""
    told = trial.outcomes[trial.outcomes["reason"] != ""]
    told = told.assign(kind=[alike(text) for text in told["reason"]])
    order = {Outcome.FAILED: 0, Outcome.HIT_NOT_INDEXED: 1}
    groups = [
        (order.get(Outcome(str(outcome)), 2), -len(part), str(outcome), str(stage), part)
        for (outcome, stage, _), part in told.groupby(["outcome", "stage", "kind"])
    ]
    groups.sort(key=lambda item: item[:4])
    rows = [
        [
            outcome.replace("_", " "),
            stage,
            f"{len(part):,}",
            str(part["reason"].iloc[0]),
            _who(part),
        ]
        for _, _, outcome, stage, part in groups[:N_REASONS]
    ]
    rest = groups[N_REASONS:]
    if rest:
        rows.append(
            ["other", "", f"{-sum(g[1] for g in rest):,}", f"{len(rest)} other reasons", ""]
        )
    return Table(
        ["outcome <", "stage <", "shots", "reason of the first <", "such as <"],
        rows,
        "Reasons that differ only in their numbers are counted together; "
        "<code>xfelflow table events</code> lists every shot with its own.",
    )


def alike(reason: str) -> str:
    """Return a reason without its numbers.

    >>> alike("12 spots, 15 wanted") == alike("3 spots, 15 wanted")
    True
    """
    return re.sub(r"\d+(\.\d+)?(e[+-]?\d+)?", "#", reason)


def _who(part: pd.DataFrame) -> str:
    """Return the first few shots of a group."""
    names = [f"{run} {event}" for run, event in zip(part["run"], part["event"], strict=True)]
    return ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
