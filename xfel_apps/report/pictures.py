"""Which shots are drawn in the report, and their pictures."""

from dataclasses import dataclass

import pandas as pd

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.plots.picture import Look, draw
from xfel_apps.plots.shot import load_shot
from xfel_apps.plots.style import photo_uri
from xfel_apps.report.trial import Trial


@dataclass(frozen=True)
class Picture:
    """A picture in the page: its `data:` address and what it shows."""

    uri: str
    caption: str


def choose(trial: Trial) -> list[tuple[str, str, int]]:
    """Return (why, run, event) of the shots worth looking at.

    The best, middle and worst integrated shot by the number of reflections (by spots, where
    nothing is integrated yet), and the richest hit without a lattice.
    """
    found = []
    shots = trial.shots(SPOTS)
    if len(shots):
        shots = shots.assign(worth=shots["n_spots"])
        good = shots[shots["final"].isin([Outcome.INTEGRATED, Outcome.INDEXED])]
        if len(integrated := _integrated(trial)):
            good, unit = integrated, "reflections"
        else:
            unit = "spots"
        ordered = good.sort_values(["worth", "run", "event"], ascending=False)
        places = dict.fromkeys([0, len(ordered) // 2, len(ordered) - 1] if len(ordered) else [])
        for why, place in zip(("Most", "Middle", "Fewest"), places, strict=False):
            row = ordered.iloc[place]
            found.append((f"{why} {unit}", str(row["run"]), int(row["event"])))
        missed = shots[shots["final"] == Outcome.HIT_NOT_INDEXED]
        if len(missed):
            row = missed.iloc[int(missed["worth"].argmax())]
            found.append(("Most spots without a lattice", str(row["run"]), int(row["event"])))
    return found


def _integrated(trial: Trial) -> pd.DataFrame:
    shots = trial.shots(REFLECTIONS)
    if not len(shots):
        return shots
    shots = shots[shots["outcome"] == Outcome.INTEGRATED]
    return shots.assign(worth=shots["n_reflections"])


def pictures(trial: Trial) -> list[Picture]:
    """Return the pictures of the chosen shots."""
    runs = {run.name: run for run in trial.runs}
    return [
        picture
        for why, run, event in choose(trial)
        if (picture := _picture(runs[run], event, why)) is not None
    ]


def _picture(run: RunResults, event: int, why: str) -> Picture | None:
    try:
        shot = load_shot(run, event)
    except ContainerError as err:
        return Picture("", f"{why}: {err}")
    caption = f"{why}: {run.name}, shot {event}. xfelflow view {run.folder} {event}"
    return Picture(photo_uri(draw(shot, Look(pixels=900)), dpi=125), caption)
