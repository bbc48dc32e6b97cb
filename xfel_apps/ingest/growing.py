"""Shots of a run that is still being written, each told once, as soon as it is whole on disk."""

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from xfel_apps.config import digest
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.manifest import Manifest
from xfel_apps.errors import NotYetError, XfelError
from xfel_apps.ingest.run import check_settings
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.ingest.shots import FileOfRun, Setups, Shot, file_names, open_source, shot_of
from xfel_apps.ingest.write import Listing, check_mask, write_events
from xfel_apps.sources.cbf import is_cbf_name
from xfel_apps.sources.paths import without_linked

SETTLED_S = 2.0
"""A file changed so lately is opened again even if its time of change stays: clocks are coarse."""

Stamp = tuple[tuple[int, int] | None, ...]


@dataclass
class _Known:
    """What is known of one file.

    Attributes
    ----------
    file : its place in the run
    n_told : frames, from the first on, that were told
    looked : its stamp and whether the run was complete when it was last opened
    awaits : other files that more frames depend on
    problem : why it could not be opened
    """

    file: FileOfRun
    n_told: int = 0
    looked: tuple[Stamp, bool] | None = None
    awaits: tuple[Path, ...] = ()
    problem: str = ""

    def stamp(self) -> Stamp:
        """Return size and time of change [ns] of all files that tell whether more has come."""
        return tuple(_stamp(path) for path in (self.file.path, *self.awaits))


class GrowingRun:
    """The shots of one run as they come.

    Parameters
    ----------
    run : its name
    settings : of ingest
    told : identities of the shots that were told before, by another process

    Raises
    ------
    SourceError : the settings' own files cannot be used

    Shots have the identities that `ingest` gives them, as long as files of the run that have equal
    names in different folders are seen together. `max_events` counts shots in the order they come.

    Attributes
    ----------
    files : that `Shot.file` counts, in the order they were first seen
    setups : detectors and beams that `Shot.setup` counts
    """

    def __init__(self, run: str, settings: IngestSettings, told: Iterable[str] = ()) -> None:
        check_settings(settings)
        self.run = run
        self.files: list[Path] = []
        self.setups = Setups(settings)
        self._told = set(told)
        self._n_new = len(self._told)
        self._known: dict[Path, _Known] = {}
        self._names: set[str] = set()
        self._scalars: set[str] = set()

    @property
    def problems(self) -> dict[Path, str]:
        """Why files could not be opened when they were last tried; while the run grows they may."""
        return {path: known.problem for path, known in self._known.items() if known.problem}

    def look(self, files: Sequence[Path], *, is_complete: bool) -> list[Shot]:
        """Return the shots that have become whole since the last look, in order of the files.

        A bad file raises nothing. Files that have not changed are not opened.

        Parameters
        ----------
        files : all raw files of the run that are there now, in order
        is_complete : nothing more will come: what cannot be read is told as failed, and frames
            that are missing as well, as `ingest` has it
        """
        files = without_linked(list(files))
        self._take_up(files)
        limit = self.setups.settings.max_events
        found: list[Shot] = []
        for path in files:
            if limit is not None and self._n_new >= limit:
                break
            for shot in self._look_into(self._known[path], is_complete):
                if limit is None or self._n_new < limit:
                    found.append(shot)
                    self._n_new += 1
        return found

    def _take_up(self, files: Sequence[Path]) -> None:
        """Give files that are new a number and a name."""
        new = [path for path in files if path not in self._known]
        if not new:
            return
        names = dict(zip(files, file_names(files), strict=True))
        for path in new:
            name = names[path]
            if name in self._names:
                name = f"{path.parent.name}/{path.name}~{digest(str(path))[:8]}"
            self._names.add(name)
            self._known[path] = _Known(FileOfRun(self.run, path, name, len(self.files)))
            self.files.append(path)

    def _look_into(self, known: _Known, is_complete: bool) -> list[Shot]:
        """Return the new shots of one file."""
        if known.n_told and is_cbf_name(known.file.path):
            return []
        looked = known.stamp(), is_complete
        if looked == known.looked:
            return []
        now_s = time.time()
        known.looked = looked if _is_settled(looked[0], now_s) else None
        shots = self._new_shots(known, is_complete, now_s)
        self._scalars.update(name for shot in shots for name in shot.scalars)
        return [shot for shot in shots if shot.shot_id not in self._told]

    def _new_shots(self, known: _Known, is_complete: bool, now_s: float) -> list[Shot]:
        """Open the file and return the shots that were not told."""
        try:
            with closing(open_source(known.file.path, self.setups.settings)) as raw:
                known.problem, known.awaits = "", raw.awaits
                frames = range(known.n_told, raw.n_frames if is_complete else raw.n_complete())
                known.n_told = max(frames.start, frames.stop)
                return [shot_of(raw, frame, known.file, self.setups, now_s) for frame in frames]
        except XfelError as err:
            return self._not_open(known, err, is_complete, now_s)

    @staticmethod
    def _not_open(known: _Known, err: XfelError, is_complete: bool, now_s: float) -> list[Shot]:
        """Note why a file cannot be opened; return it as one failed shot if it never will be."""
        known.problem = str(err)
        known.awaits = err.awaits if isinstance(err, NotYetError) else ()
        if not is_complete or known.n_told:
            return []
        known.n_told = 1
        return [known.file.shot(0, problem=str(err), complete_s=now_s)]

    def write(self, manifest: Path, shots: Sequence[Shot]) -> Manifest:
        """Write some of the shots as events, numbered from 0, and return their manifest.

        Parameters
        ----------
        manifest : path to write; the container goes into the folder of the same name beside it
        shots : that `look` has told
        """
        check_mask(self.run, self.setups)
        numbers = sorted({shot.file for shot in shots})
        place = {number: index for index, number in enumerate(numbers)}
        settings = self.setups.settings
        identity = [shot.shot_id for shot in shots]
        listing = Listing(
            self.run,
            [self.files[number] for number in numbers],
            self.setups,
            digest(EVENTS.name, str(EVENTS.version), settings.canonical(), *identity),
            time.time(),
            self._scalars,
        )
        return write_events(manifest, [replace(s, file=place[s.file]) for s in shots], listing)


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of change [ns]; None for a file that is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _is_settled(stamp: Stamp, now_s: float) -> bool:
    """Return whether all changes lie so far back that another one would show."""
    return all(part is None or now_s - part[1] / 1e9 > SETTLED_S for part in stamp)
