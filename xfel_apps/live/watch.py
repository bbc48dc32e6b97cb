"""Which runs there are, which raw files they have and whether more will come."""

import fnmatch
import glob
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from xfel_apps.errors import SettingsError
from xfel_apps.sources.paths import natural

PLACE = "{run}"
RESERVED = frozenset({"datasets", "live", "logs", "benchmarks"})
"""Folders that a trial has beside those of its runs."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Seen:
    """A run as it is seen now.

    Attributes
    ----------
    run : its name
    files : its raw files, in order
    is_complete : nothing more is expected
    signature : changes whenever a file does
    """

    run: str
    files: tuple[Path, ...]
    is_complete: bool
    signature: Signature = ()


class Watch(Protocol):
    """What tells of runs: a folder, or in future a stream of messages or a catalog.

    Attributes
    ----------
    quiet_s : a run that has not grown for so long is complete [s]; 0: at once
    """

    quiet_s: float

    def poll(self) -> Sequence[Seen]:
        """Return all runs that are known now."""

    def paths(self, run: str) -> list[str]:
        """Return what an experiment file names as the raw files of a run."""


def check_pattern(pattern: str) -> str:
    """Return a pattern made absolute, or say what is wrong with it."""
    if not pattern:
        raise SettingsError(
            "nothing to watch: give live.watch in the experiment file, "
            f"such as `/data/{PLACE}.h5` or `/data/{PLACE}/*.cbf`"
        )
    if PLACE not in pattern:
        raise SettingsError(f"live.watch {pattern}: write {PLACE} where the run's name stands")
    path = Path(pattern).expanduser()
    fixed = path.parents[_depth_of_magic(path)]
    if not fixed.is_dir():
        raise SettingsError(f"live.watch {pattern}: there is no folder {fixed}")
    return str(path.absolute())


def _depth_of_magic(path: Path) -> int:
    """Return how many parts at the end begin with the first that is not a plain name."""
    plain = [not (PLACE in part or glob.has_magic(part)) for part in path.parts]
    return len(plain) - 1 - plain.index(False)


class FolderWatch:
    """Looks into folders again and again.

    Parameters
    ----------
    pattern : path with `{run}` and wildcards (see `check_pattern`)
    quiet_s : a run whose files have not changed for so long is complete [s]; 0: at once
    """

    def __init__(self, pattern: str, quiet_s: float) -> None:
        self._pattern = check_pattern(pattern)
        self.quiet_s = quiet_s
        self._regex = _regex(self._pattern)
        self._changed_s: dict[str, tuple[Signature, float]] = {}

    def paths(self, run: str) -> list[str]:
        """Return the pattern of a run's files."""
        return [self._pattern.replace(PLACE, run)]

    def poll(self) -> list[Seen]:
        """Return the runs whose files are there now, in order of their names."""
        found: dict[str, list[Path]] = {}
        for text in glob.iglob(self._pattern.replace(PLACE, "*"), recursive=True):  # noqa: PTH207 - Path.glob takes no absolute pattern
            match = self._regex.fullmatch(text)
            if match and is_run_name(match["run"]):
                found.setdefault(match["run"], []).append(Path(text))
        return [self._seen(run, found[run]) for run in sorted(found)]

    def _seen(self, run: str, files: list[Path]) -> Seen:
        files = sorted(files, key=natural)
        signature = signature_of(files)
        before, since_s = self._changed_s.get(run, (None, 0.0))
        if before is None:
            # A clock of the file server that is ahead or behind only shifts when a run is taken
            # for complete; one that grows after all is taken up again.
            newest_s = max((ns for _, _, ns in signature), default=0) / 1e9
            since_s = time.monotonic() - max(0.0, time.time() - newest_s)
        elif before != signature:
            since_s = time.monotonic()
        self._changed_s[run] = (signature, since_s)
        is_quiet = time.monotonic() - since_s >= self.quiet_s
        return Seen(run, tuple(files), is_quiet, signature)


def signature_of(files: Sequence[Path]) -> Signature:
    """Return path, size and time of change [ns] of each file that is there."""
    parts = []
    for path in files:
        try:
            status = path.stat()
        except FileNotFoundError:
            continue
        parts.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(parts)


def is_run_name(name: str) -> bool:
    """Return whether a run can be called so; its folder has this name.

    >>> is_run_name("r0014"), is_run_name("logs"), is_run_name("a b")
    (True, False, False)
    """
    return NAME.fullmatch(name) is not None and name not in RESERVED


def matches(run: str, patterns: Sequence[str]) -> bool:
    """Return whether a run is one of those that names or patterns mean.

    >>> matches("r0014", ["r001*"]), matches("r0014", ["r002*", "r0014"]), matches("r0014", [])
    (True, True, False)
    """
    return any(fnmatch.fnmatchcase(run, pattern) for pattern in patterns)


def _regex(pattern: str) -> re.Pattern[str]:
    """Return what matches the files of a pattern, with the group `run`."""
    parts = []
    for piece in re.split(r"(\{run\}|\*\*/|[*?]|\[[^]]+\])", pattern):
        if piece == PLACE:
            parts.append("(?P=run)" if "(?P<run>[^/]+)" in parts else "(?P<run>[^/]+)")
        elif piece == "**/":
            parts.append("(?:.*/)?")
        elif piece in ("*", "?"):
            parts.append("[^/]" + piece.replace("?", ""))
        elif piece.startswith("["):
            parts.append(piece.replace("[!", "[^"))
        else:
            parts.append(re.escape(piece))
    return re.compile("".join(parts))
