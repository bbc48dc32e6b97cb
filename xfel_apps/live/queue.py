"""The queue of chunks: files that are renamed, so that each chunk has one owner whatever dies.

A chunk's file is in `queue/`, or in `taken/CREW/`, or the chunk is done. Renaming within a file
system happens wholly or not at all, also on network file systems; who loses the race gets an error.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from xfel_apps.containers.manifest import write_text
from xfel_apps.errors import ContainerError
from xfel_apps.live.chunk import Chunk, Facts
from xfel_apps.live.layout import LiveFolder

LIVE_FIRST, REPROCESS_LAST = 0, 1
_LATEST_S = 10**10


def entry_name(chunk: Chunk, priority: int, complete_s: float) -> str:
    """Return the file name of a chunk in the queue: the most urgent sorts first, the newest.

    Parameters
    ----------
    chunk : what waits
    priority : `LIVE_FIRST` or `REPROCESS_LAST`
    complete_s : when its last frame was complete [s since 1970]
    """
    age = _LATEST_S - round(complete_s, 1)
    trial = re.sub(r"[^A-Za-z0-9_.-]", "_", Path(chunk.trial).name)
    return f"{priority}-{age:012.1f}-{trial}-{chunk.run}-{chunk.first:07d}.json"


def chunk_key(name: str) -> str:
    """Return the part of an entry's name that tells which chunk it is.

    >>> chunk_key("0-008300000000.0-000-r0014-0000200.json")
    '000-r0014-0000200'
    """
    return name.split("-", 2)[2].removesuffix(".json")


@dataclass(frozen=True)
class Claim:
    """A chunk that a crew has taken."""

    path: Path
    chunk: Chunk

    @property
    def is_held(self) -> bool:
        """Whether the chunk is still this crew's; the daemon takes it from a crew that is lost."""
        return self.path.exists()

    def done(self) -> None:
        """Let go of the chunk: it is done (its `done.json` is written)."""
        self.path.unlink(missing_ok=True)


class Queue:
    """The queue as daemon and crews see it.

    Parameters
    ----------
    folder : of live processing
    """

    def __init__(self, folder: LiveFolder) -> None:
        self._live = folder

    def put(self, name: str, chunk: Chunk) -> None:
        """Let a chunk wait under the name that `entry_name` gives."""
        write_text(self._live.queue / name, json.dumps(chunk.as_json()) + "\n")

    def waiting(self) -> list[str]:
        """Return the names of what waits, the most urgent first."""
        return sorted(path.name for path in self._live.queue.glob("[0-9]*.json"))

    def take(self, crew: str) -> Claim | None:
        """Take the most urgent chunk for a crew; None if nothing waits."""
        mine = self._live.taken(crew)
        mine.mkdir(parents=True, exist_ok=True)
        for name in self.waiting():
            try:
                path = (self._live.queue / name).rename(mine / name)
            except FileNotFoundError:  # another crew was faster
                continue
            return Claim(path, read_chunk(path))
        return None

    def taken(self, crew: str) -> list[Claim]:
        """Return the chunks that a crew has taken."""
        found = sorted(self._live.taken(crew).glob("[0-9]*.json"))
        return [Claim(path, read_chunk(path)) for path in found]

    def change_facts(self, name: str, facts: Facts) -> None:
        """Let a chunk wait with other facts; nothing happens if a crew has just taken it.

        It is taken meanwhile, so that it is in one place whoever dies.
        """
        mine = self._live.taken("daemon")
        mine.mkdir(parents=True, exist_ok=True)
        try:
            path = (self._live.queue / name).rename(mine / name)
        except FileNotFoundError:
            return
        claim = Claim(path, read_chunk(path))
        self.give_back(claim, replace(claim.chunk, facts=facts))

    def give_back(self, claim: Claim, chunk: Chunk) -> None:
        """Let what is left of a taken chunk wait again; `chunk` says what to skip.

        It is written where it is, then moved: killed at any moment, it is in one place.
        """
        write_text(claim.path, json.dumps(chunk.as_json()) + "\n")
        self._live.queue.mkdir(parents=True, exist_ok=True)
        claim.path.rename(self._live.queue / claim.path.name)


def read_chunk(path: Path) -> Chunk:
    """Return the chunk in a file of the queue."""
    try:
        return Chunk.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise ContainerError(f"{path}: not a chunk ({err}); remove it and start again") from err
