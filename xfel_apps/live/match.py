"""Which event of a complete run each shot of a live run is."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.containers.events import Events
from xfel_apps.errors import ContainerError
from xfel_apps.live.layout import LiveRun

Numbers = NDArray[np.int64]
NONE = -1


def events_of_live(live: LiveRun, events: Events) -> Numbers:
    """Return the event of every shot of a live run (n_live,), in the order of their arrival.

    A shot is `NONE` where the complete run has no such shot, or has it with another geometry or
    wavelength than when it was processed.

    Parameters
    ----------
    live : the run as it was cut into chunks
    events : of the complete run
    """
    known = pd.Index(events.frame["shot_id"])
    found = np.full(n_live(live), NONE, dtype=np.int64)
    for folder in live.chunks():
        chunk = read_events(folder)
        if chunk is not None:
            first = int(folder.name)
            found[first : first + len(chunk.frame)] = _same(chunk, events, known)
    return found


def n_live(live: LiveRun) -> int:
    """Return how many numbers of shots a live run has used."""
    ends = [0]
    for folder in live.chunks()[-1:]:
        chunk = read_events(folder)
        ends.append(int(folder.name) + (len(chunk.frame) if chunk is not None else 0))
    return max(ends)


def read_events(chunk: Path) -> Events | None:
    """Return the shots of a chunk; None where its folder was made and nothing more."""
    try:
        return Events.read(chunk / "events.json")
    except ContainerError:
        return None


def _same(chunk: Events, events: Events, known: "pd.Index[str]") -> Numbers:
    """Return the event of each shot of a chunk, `NONE` where anything about it has changed."""
    found = known.get_indexer(pd.Index(chunk.frame["shot_id"])).astype(np.int64)
    if _beside(chunk) != _beside(events):
        return np.full(len(found), NONE, dtype=np.int64)
    whole = events.frame.iloc[found]
    setups = _numbers_of(_setups(chunk), _setups(events))
    files = _numbers_of([str(path) for path in chunk.files], [str(path) for path in events.files])
    same = (found != NONE) & (_column(chunk.frame, "frame") == _column(whole, "frame"))
    same &= files[_column(chunk.frame, "file")] == _column(whole, "file")
    same &= setups[_column(chunk.frame, "detector")] == _column(whole, "detector")
    same &= _column(chunk.frame, "wavelength_ang") == _column(whole, "wavelength_ang")
    return np.where(same, found, NONE)


def _column(frame: pd.DataFrame, name: str) -> NDArray[np.generic]:
    return frame[name].to_numpy()


def _beside(events: Events) -> tuple[Path | None, Path | None]:
    return events.geometry_file, events.mask_file


def _setups(events: Events) -> list[str]:
    """Return each detector with its beam, as texts."""
    extra = events.manifest.extra
    return [
        f"{detector} {sorted(beam.items())}"
        for detector, beam in zip(extra["detectors"], extra["beams"], strict=True)
    ]


def _numbers_of(names: list[str], known: list[str]) -> Numbers:
    """Return where each of `names` stands in `known`; -2, which nothing is equal to, if nowhere."""
    place = {name: number for number, name in enumerate(known)}
    return np.array([place.get(name, -2) for name in names] or [-2], dtype=np.int64)
