"""Writes the events of a run: containers and manifest."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.config import digest
from xfel_apps.containers.events import EVENTS, Scalars, detectors_to_json
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ContainerError, SourceError
from xfel_apps.ingest.filter import keep
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.ingest.shots import Setups, Shot, find_shots
from xfel_apps.progress import Progress
from xfel_apps.sources import expand
from xfel_apps.sources.dispatch import check_readable
from xfel_apps.sources.usermask import read_mask

OWN_COLUMNS = ("timestamp_s", "pulse_energy_mj", "laser_on")
"""Scalars with a column of their own in the shots table."""


def ingest(run: str, paths: Sequence[str], settings: IngestSettings, manifest: Path) -> Manifest:
    """Index the shots of a run and write its events.

    Parameters
    ----------
    run : its name
    paths : files, folders, globs and lists of raw files
    settings : of ingest
    manifest : path to write; the container goes into the folder of the same name beside it
    """
    _check_settings(settings)
    _check_writable(manifest)
    files = expand(paths, settings.geometry)
    setups = Setups(settings)
    start_s = time.time()
    shots = _collect(run, files, settings, setups)
    _check_shots(run, shots, setups, settings)
    kept = _kept(shots, settings.filter)
    job = events_digest(files, settings)
    folder = manifest.with_suffix("")
    outcomes = _write(folder, shots, kept, (job, settings.filter, start_s))
    written = Manifest(
        product=EVENTS.name,
        stage=EVENTS.stage,
        version=EVENTS.version,
        run=run,
        digest=job,
        settings=settings.model_dump(mode="json"),
        inputs={},
        n_events=len(shots),
        outcomes=count(outcomes),
        containers=tuple(f"{folder.name}/{path.name}" for path in folder.glob("rank-*.h5")),
        extra=_extra(files, settings, setups),
    )
    written.write(manifest)
    return written


def _check_settings(settings: IngestSettings) -> None:
    """Say before any work which of the user's own files cannot be used."""
    if settings.geometry is not None:
        check_readable(settings.geometry, "geometry file (ingest.geometry)")
    if settings.mask is not None:
        check_readable(settings.mask, "mask file (ingest.mask)")


def _check_writable(manifest: Path) -> None:
    """Make the folder of the manifest and take an older one away, before any work."""
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
    except OSError as err:
        raise ContainerError(f"{manifest}: cannot write here ({err})") from err


def _collect(
    run: str, files: Sequence[Path], settings: IngestSettings, setups: Setups
) -> list[Shot]:
    """Return the shots of the run, at most as many as the settings allow."""
    shots: list[Shot] = []
    with Progress(f"ingest {run}", len(files)) as progress:
        n_done = 0
        for shot in find_shots(run, files, settings, setups):
            if settings.max_events is not None and len(shots) == settings.max_events:
                break
            shots.append(shot)
            if shot.file + 1 > n_done:
                n_done = shot.file + 1
                progress.report("files")
    return shots


def _check_shots(run: str, shots: Sequence[Shot], setups: Setups, settings: IngestSettings) -> None:
    """Refuse a run without any shot to process, and a mask that does not fit."""
    if not shots:
        raise SourceError(f"run {run} is empty: its files hold no frames")
    if not setups.detectors:
        raise SourceError(
            f"run {run}: none of its {len(shots)} shots can be read; the first: {shots[0].problem}"
        )
    if settings.mask is not None:
        shape = read_mask(settings.mask).shape
        for detector in setups.detectors:
            if detector.slab_shape != shape:
                raise SourceError(
                    f"{settings.mask}: mask of {shape}, frames of run {run} have "
                    f"{detector.slab_shape} (slow, fast)"
                )


def _kept(shots: Sequence[Shot], expression: str) -> NDArray[np.bool_]:
    """Return which shots (n,) pass the filter."""
    if not expression.strip():
        return np.ones(len(shots), dtype=bool)
    table = pd.DataFrame([shot.scalars for shot in shots])
    table["frame"] = [shot.frame for shot in shots]
    table["wavelength_ang"] = [shot.wavelength_ang for shot in shots]
    if "laser_on" in table and not (table["laser_on"] < 0).all():
        table["laser_on"] = table["laser_on"] > 0
    return keep(expression, table)


def events_digest(files: Sequence[Path], settings: IngestSettings) -> str:
    """Return the digest of the settings and of every file: path, size and time of change."""
    parts = []
    for path in [*files, settings.geometry, settings.mask]:
        if path is not None and path.exists():
            status = path.stat()
            parts.append(f"{path}\t{status.st_size}\t{status.st_mtime_ns}")
        else:
            parts.append(f"{path}\tmissing")
    return digest(EVENTS.name, str(EVENTS.version), settings.canonical(), *parts)


def _write(
    folder: Path, shots: Sequence[Shot], kept: NDArray[np.bool_], job: tuple[str, str, float]
) -> dict[int, Outcome]:
    """Write the container anew; return the outcome of every event.

    Parameters
    ----------
    folder : of the container; parts that are there are removed
    shots, kept : the run's shots and which the filter keeps
    job : digest, filter expression and when the work began [s]
    """
    digest_text, expression, start_s = job
    outcomes: dict[int, Outcome] = {}
    try:
        for path in folder.glob("rank-*.h5"):
            path.unlink()
    except OSError as err:
        raise ContainerError(f"{folder}: cannot write here ({err})") from err
    cpu_s = (time.time() - start_s) / len(shots)
    with ContainerWriter(folder, 0, EVENTS, digest_text) as writer:
        for event, shot in enumerate(shots):
            result = _result(shot, bool(kept[event]), expression)
            outcomes[event] = result.outcome
            writer.append(event, result, start_s, cpu_s)
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
    }
    others = {name: v for name, v in shot.scalars.items() if name not in OWN_COLUMNS}
    rows = Scalars.make(name=[name.encode() for name in others], value=list(others.values()))
    return ShotResult(outcome, reason, columns, {"scalars": rows} if others else {})


def _extra(files: Sequence[Path], settings: IngestSettings, setups: Setups) -> dict[str, Any]:
    """Return what the manifest says of the run: files and detectors."""
    return {
        "files": [str(path) for path in files],
        "geometry": _absolute(settings.geometry),
        "mask": _absolute(settings.mask),
        "detectors": detectors_to_json(setups.detectors),
        "beams": setups.beam_fields(),
    }


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
