"""Writes the events of a run, or of a part of it: container and manifest."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.containers.events import EVENTS, Scalars, detectors_to_json
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ContainerError, SourceError
from xfel_apps.ingest.filter import keep
from xfel_apps.ingest.shots import Setups, Shot
from xfel_apps.sources.usermask import read_mask

OWN_COLUMNS = ("timestamp_s", "pulse_energy_mj", "laser_on")
"""Scalars with a column of their own in the shots table."""


@dataclass(frozen=True)
class Listing:
    """What shots were found in.

    Attributes
    ----------
    run : its name
    files : the raw files that `Shot.file` counts
    setups : detectors and beams that `Shot.setup` counts, and the settings of ingest
    digest : of all that determines the events
    start_s : when the work began [seconds since 1970]
    scalars : names that other shots of the run have, which the filter may ask for
    """

    run: str
    files: Sequence[Path]
    setups: Setups
    digest: str
    start_s: float
    scalars: Collection[str] = ()


def write_events(manifest: Path, shots: Sequence[Shot], listing: Listing) -> Manifest:
    """Write events, numbered from 0 in the order of `shots`; return their manifest.

    Parameters
    ----------
    manifest : path to write; the container goes into the folder of the same name beside it
    shots : of the run, or of a part of it
    listing : what they were found in
    """
    kept = _kept(shots, listing)
    folder = manifest.with_suffix("")
    outcomes = _write(folder, shots, kept, listing)
    written = Manifest(
        product=EVENTS.name,
        stage=EVENTS.stage,
        version=EVENTS.version,
        run=listing.run,
        digest=listing.digest,
        settings=listing.setups.settings.model_dump(mode="json"),
        inputs={},
        n_events=len(shots),
        outcomes=count(outcomes),
        containers=tuple(f"{folder.name}/{path.name}" for path in folder.glob("rank-*.h5")),
        extra=_extra(listing),
    )
    written.write(manifest)
    return written


def check_mask(run: str, setups: Setups) -> None:
    """Refuse a user's mask that does not fit the run's detectors."""
    if setups.settings.mask is None:
        return
    shape = read_mask(setups.settings.mask).shape
    for detector in setups.detectors:
        if detector.slab_shape != shape:
            raise SourceError(
                f"{setups.settings.mask}: mask of {shape}, frames of run {run} have "
                f"{detector.slab_shape} (slow, fast)"
            )


def _kept(shots: Sequence[Shot], listing: Listing) -> NDArray[np.bool_]:
    """Return which shots (n,) pass the filter."""
    expression = listing.setups.settings.filter
    if not expression.strip():
        return np.ones(len(shots), dtype=bool)
    table = pd.DataFrame([shot.scalars for shot in shots])
    table["frame"] = [shot.frame for shot in shots]
    table["wavelength_ang"] = [shot.wavelength_ang for shot in shots]
    for name in listing.scalars:
        table[name] = table.get(name, np.nan)
    if "laser_on" in table and not (table["laser_on"] < 0).all():
        table["laser_on"] = table["laser_on"] > 0
    return keep(expression, table, listing.scalars)


def _write(
    folder: Path, shots: Sequence[Shot], kept: NDArray[np.bool_], listing: Listing
) -> dict[int, Outcome]:
    """Write the container anew; return the outcome of every event.

    Parameters
    ----------
    folder : of the container; parts that are there are removed
    shots, kept : shots and which of them the filter keeps
    listing : what they were found in
    """
    outcomes: dict[int, Outcome] = {}
    try:
        for path in folder.glob("rank-*.h5"):
            path.unlink()
    except OSError as err:
        raise ContainerError(f"{folder}: cannot write here ({err})") from err
    cpu_s = (time.time() - listing.start_s) / max(len(shots), 1)
    expression = listing.setups.settings.filter
    with ContainerWriter(folder, 0, EVENTS, listing.digest) as writer:
        for event, shot in enumerate(shots):
            result = _result(shot, bool(kept[event]), expression)
            outcomes[event] = result.outcome
            writer.append(event, result, listing.start_s, cpu_s)
    return outcomes


def _result(shot: Shot, kept: bool, expression: str) -> ShotResult:
    """Return the row of one shot."""
    outcome, reason = Outcome.PENDING, ""
    if shot.problem:
        outcome, reason = Outcome.FAILED, shot.problem
    elif not kept:
        outcome, reason = Outcome.FILTERED, f"not {expression}"
    columns: dict[str, Any] = {
        "shot_id": shot.shot_id.encode(),
        "file": shot.file,
        "frame": shot.frame,
        "detector": shot.setup,
        "wavelength_ang": shot.wavelength_ang,
        "timestamp_s": shot.scalars.get("timestamp_s", np.nan),
        "pulse_energy_mj": shot.scalars.get("pulse_energy_mj", np.nan),
        "laser_on": int(shot.scalars.get("laser_on", -1)),
        "complete_s": shot.complete_s,
    }
    others = {name: v for name, v in shot.scalars.items() if name not in OWN_COLUMNS}
    rows = Scalars.make(name=[name.encode() for name in others], value=list(others.values()))
    return ShotResult(outcome, reason, columns, {"scalars": rows} if others else {})


def _extra(listing: Listing) -> dict[str, Any]:
    """Return what the manifest says of the run: files and detectors."""
    setups, settings = listing.setups, listing.setups.settings
    return {
        "files": [str(path) for path in listing.files],
        "geometry": _absolute(settings.geometry),
        "mask": _absolute(settings.mask),
        "detectors": detectors_to_json(setups.detectors),
        "beams": setups.beam_fields(),
    }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
