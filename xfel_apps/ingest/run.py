"""Ingests a whole run."""

import time
from collections.abc import Sequence
from pathlib import Path

from xfel_apps.config import digest
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.containers.manifest import Manifest
from xfel_apps.errors import ContainerError, SourceError
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.ingest.shots import Setups, Shot, find_shots
from xfel_apps.ingest.write import Listing, check_mask, write_events
from xfel_apps.progress import Progress
from xfel_apps.sources import expand
from xfel_apps.sources.dispatch import check_readable


def ingest(run: str, paths: Sequence[str], settings: IngestSettings, manifest: Path) -> Manifest:
    """Index the shots of a run and write its events.

    Parameters
    ----------
    run : its name
    paths : files, folders, globs and lists of raw files
    settings : of ingest
    manifest : path to write; the container goes into the folder of the same name beside it
    """
    check_settings(settings)
    _check_writable(manifest)
    files = expand(paths, settings.geometry)
    setups = Setups(settings)
    start_s = time.time()
    shots = _collect(run, files, setups)
    _check_shots(run, shots, setups)
    listing = Listing(run, files, setups, events_digest(files, settings), start_s)
    return write_events(manifest, shots, listing)


def check_settings(settings: IngestSettings) -> None:
    """Say before any work which of the user's own files cannot be used."""
    if settings.geometry is not None:
        check_readable(settings.geometry, "geometry file (ingest.geometry)")
    if settings.panels is not None:
        check_readable(settings.panels, "refined geometry (ingest.panels)")
        GeometryManifest.read(settings.panels)
    if settings.mask is not None:
        check_readable(settings.mask, "mask file (ingest.mask)")


def _check_writable(manifest: Path) -> None:
    """Make the folder of the manifest and take an older one away, before any work."""
    try:
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
    except OSError as err:
        raise ContainerError(f"{manifest}: cannot write here ({err})") from err


def _collect(run: str, files: Sequence[Path], setups: Setups) -> list[Shot]:
    """Return the shots of the run, at most as many as the settings allow."""
    limit = setups.settings.max_events
    shots: list[Shot] = []
    with Progress(f"ingest {run}", len(files)) as progress:
        n_done = 0
        for shot in find_shots(run, files, setups):
            if limit is not None and len(shots) == limit:
                break
            shots.append(shot)
            if shot.file + 1 > n_done:
                n_done = shot.file + 1
                progress.report("files")
    return shots


def _check_shots(run: str, shots: Sequence[Shot], setups: Setups) -> None:
    """Refuse a run without any shot to process, and a mask that does not fit."""
    if not shots:
        raise SourceError(f"run {run} is empty: its files hold no frames")
    if not setups.detectors:
        raise SourceError(
            f"run {run}: none of its {len(shots)} shots can be read; the first: {shots[0].problem}"
        )
    check_mask(run, setups)


def events_digest(files: Sequence[Path], settings: IngestSettings) -> str:
    """Return the digest of the settings and of every file: path, size and time of change."""
    parts = []
    own = [settings.panels] if settings.panels is not None else []
    for path in [*files, settings.geometry, settings.mask, *own]:
        if path is not None and path.exists():
            status = path.stat()
            parts.append(f"{path}\t{status.st_size}\t{status.st_mtime_ns}")
        else:
            parts.append(f"{path}\tmissing")
    return digest(EVENTS.name, str(EVENTS.version), settings.canonical(), *parts)
