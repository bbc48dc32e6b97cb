"""Times of the results of each shot, from chunks, containers and versions of merged data."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xfel_apps.containers.events import EVENTS, Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults, folders_below, is_begun
from xfel_apps.errors import ContainerError
from xfel_apps.latency.first import PRODUCTS, first_results
from xfel_apps.live.layout import LiveRun

STAGES = (*(product.stage for product in PRODUCTS), "merge")


def latencies(folder: Path) -> pd.DataFrame:
    """Return one row a shot of all runs below a folder: run and, by stage, its latency [s].

    Latency is the time from when the frame was complete on disk to when the stage had done with
    the shot for the first time; for `merge`, to when the first merged version with it was there.
    NaN where there is no such result (yet). `complete_s` [s since 1970] is a column too.
    """
    found = [_named(folder, run, latencies_of(run)) for run in folders_below(folder, is_begun)]
    if not any(len(frame) for frame in found):
        raise ContainerError(
            f"{folder}: no shot here has a time at which its frame was complete; "
            "give a folder of results, a trial or a run"
        )
    return pd.concat(found, ignore_index=True)


def _named(folder: Path, run: Path, frame: pd.DataFrame) -> pd.DataFrame:
    name = run.name if run == folder else run.relative_to(folder).as_posix()
    return frame.assign(run=name)


def latencies_of(run: Path) -> pd.DataFrame:
    """Return the latencies of the run in a folder; see `latencies`."""
    live, sealed = _live(run), _batch(run)
    times = live.reindex(live.index.union(sealed.index, sort=False))
    sealed = sealed.reindex(times.index)
    times["complete_s"] = times["complete_s"].fillna(sealed["complete_s"])
    for stage in STAGES:
        times[stage] = np.fmin(times[stage], sealed[stage]) - times["complete_s"]
    return times.dropna(subset="complete_s").reset_index(drop=True)


def _empty(shot_ids: Any) -> pd.DataFrame:
    """Return a table of times for shots, with none known."""
    index = pd.Index(shot_ids, name="shot_id", dtype=object)
    return pd.DataFrame(np.nan, index=index, columns=["complete_s", *STAGES], dtype=float)


def _live(run: Path) -> pd.DataFrame:
    """Return when shots of chunks were complete and had results [s since 1970]."""
    live = LiveRun(run.parent, run.name)
    chunks = list(_chunks(live))
    n_live = max((first + len(frame) for first, frame in chunks), default=0)
    shot_ids = np.full(n_live, b"", dtype=object)
    complete_s = np.full(n_live, np.nan)
    for first, frame in chunks:
        shot_ids[first : first + len(frame)] = frame["shot_id"]
        complete_s[first : first + len(frame)] = frame["complete_s"]
    times = _empty(shot_ids)
    times["complete_s"] = complete_s
    for stage, ends in first_results(live, n_live).items():
        times[stage] = ends
    times["merge"] = _merged_live(run, live, n_live)
    earliest: pd.DataFrame = times[shot_ids != b""].groupby(level=0, sort=False).first()
    return earliest


def _chunks(live: LiveRun) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the number of the first shot and the events of each chunk."""
    for folder in live.chunks():
        try:
            yield int(folder.name), Events.read(folder / "events.json").frame
        except ContainerError:  # only just being made
            continue


def _merged_live(run: Path, live: LiveRun, n_live: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Return when each live shot (n_live,) was in a merged version for the first time."""
    made_s = dict(_versions(run))
    merged_s = np.full(n_live, np.nan)
    so_far: list[int] = []
    try:
        lines = live.snapshots.read_text().splitlines()
    except OSError:
        return merged_s
    for entry in read_log(lines):
        so_far += [number for number in entry["new"] if number < n_live]
        if entry["digest"] in made_s:
            merged_s[so_far] = np.fmin(merged_s[so_far], made_s[entry["digest"]])
    return merged_s


def read_log(lines: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the entries of a log of snapshots; what was cut short is passed over.

    An entry has the digest of a snapshot and the live numbers of the integrated shots that those
    before had not (`new`).
    """
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _versions(run: Path) -> Iterator[tuple[str, float]]:
    """Yield the digest of the run's reflections in each merged version, and when it was made."""
    found = []
    for path in run.parent.glob("datasets/*/v*/merged.json"):
        try:
            inputs = json.loads(path.read_text())["inputs"]
            found.append((path.stat().st_mtime, inputs.get(run.name)))
        except (OSError, ValueError, KeyError):  # only just being made
            continue
    for made_s, digest in sorted(found, key=lambda item: -item[0]):
        if digest is not None:
            yield digest, made_s  # the earliest comes last and counts


def _batch(run: Path) -> pd.DataFrame:
    """Return when shots were complete and had results, as the batch's files tell."""
    results = RunResults(run)
    try:
        if not results.has(EVENTS):
            return _empty([])
        events = results.shots(EVENTS)
        times = _empty(events["shot_id"])
        times["complete_s"] = events["complete_s"].to_numpy(float)
        for product in PRODUCTS:
            if results.has(product):
                times[product.stage] = _ends(results, product, events.index)
        if results.has(REFLECTIONS):
            made_s = dict(_versions(run)).get(results.need(REFLECTIONS).digest, np.nan)
            is_merged = results.outcomes["outcome"] == Outcome.INTEGRATED
            times["merge"] = np.where(is_merged, made_s, np.nan)
        return times
    finally:
        results.close()


def _ends(results: RunResults, product: Product, events: "pd.Index[int]") -> Any:
    return results.shots(product)["end_s"].reindex(events).to_numpy(float)
