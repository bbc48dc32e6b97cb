"""One stage of one run: what its containers have is brought into the catalog."""

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from time import time

from xfel_apps.catalog.engine import Catalog
from xfel_apps.catalog.parts import ROWS, NewRows, StageKey, containers, manifest_of, new_rows
from xfel_apps.catalog.progress import DONE, FAILED, RUNNING, SILENT_S, Work
from xfel_apps.catalog.writer import (
    KnownPart,
    Place,
    forget_stage,
    known_parts,
    write_decided,
    write_rows,
)
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.product import Product

Stat = tuple[int, int]
"""Size and time of the last change of a file: another one may have other rows."""


class ReplacedError(Exception):
    """A file is not the one that the catalog has rows of."""


@dataclass
class Read:
    """A file was read to its end; place: its part of the catalog, None where it had nothing new."""

    seen: dict[Path, Stat]
    path: Path
    stat: Stat
    place: Place | None


@dataclass
class Waiting:
    """Rows of any stages that wait to be written together, and the files that they complete."""

    rows: list[NewRows] = field(default_factory=list)
    files: list[Read] = field(default_factory=list)

    def write(self, catalog: Catalog) -> int:
        """Write all; return how many rows were new. Files that are in need no second look."""
        rows, files = self.rows, self.files
        self.rows, self.files = [], []
        written = write_rows(catalog, rows) if rows else {}
        for file in files:
            if file.place is None or file.place in written:
                file.seen[file.path] = file.stat
        return sum(written.values())

    def write_if_many(self, catalog: Catalog) -> int:
        """Write if it is worth a transaction."""
        return self.write(catalog) if sum(map(len, self.rows)) >= ROWS else 0

    def drop(self, key: StageKey) -> None:
        """Forget what waits of a stage."""
        self.rows = [rows for rows in self.rows if rows.key != key]
        self.files = [file for file in self.files if not file.place or file.place[0] != key]


class StageReader:
    """Looks at a stage of a run again and again, and reads what is new since the last look.

    Parameters
    ----------
    folder : of the run
    product : of the stage
    key : of the stage
    """

    def __init__(self, folder: Path, product: Product, key: StageKey) -> None:
        self._folder, self._product, self._key = folder, product, key
        self._done: Stat | None = None
        self._seen: dict[Path, Stat] = {}
        self._start_s, self._end_s, self._host = math.inf, -math.inf, ""

    def work(self, *, is_over: bool) -> Work | None:
        """Return how far the stage is; None where nothing new was read of it.

        Parameters
        ----------
        is_over : nobody works on it any more
        """
        if not math.isfinite(self._start_s):
            return None
        written_s = max((time_ns for _, time_ns in self._seen.values()), default=0) / 1e9
        is_running = time() - written_s < SILENT_S and not is_over
        return Work(
            stage=self._key.stage,
            subject=self._folder.name,
            state=DONE if self._done else RUNNING if is_running else FAILED,
            n_ranks=len({path.stem.split(".")[0] for path in self._seen}),
            host=self._host,
            start_s=self._start_s,
            end_s=self._end_s,
            log=f"{self._folder.parent}/logs/{self._folder.name}/{self._key.stage}.log",
        )

    def look(self, catalog: Catalog, waiting: Waiting) -> int:
        """Read what is new and write whenever it is much; return how many rows were written."""
        stat = _stat(self._folder / f"{self._product.name}.json")
        if stat is not None and stat == self._done:
            return 0
        manifest = manifest_of(self._folder, self._product) if stat else None
        try:
            n_rows = self._read(catalog, waiting, manifest)
        except ReplacedError:
            waiting.drop(self._key)
            forget_stage(catalog, self._key)
            self._seen.clear()
            n_rows = self._read(catalog, waiting, manifest)
        if manifest is not None:
            n_rows += waiting.write(catalog)
            if manifest.extra.get("decided"):
                write_decided(catalog, self._key, manifest)
            if all(path in self._seen for path in containers(self._folder, self._product)):
                self._done = stat
        return n_rows

    def _read(self, catalog: Catalog, waiting: Waiting, manifest: Manifest | None) -> int:
        """Read the files that have changed since the last look."""
        stats = {path: _stat(path) for path in containers(self._folder, self._product)}
        found = {path: stat for path, stat in stats.items() if stat is not None}
        if found == self._seen and manifest is None:
            return 0
        known = known_parts(catalog, self._key)
        self._check_names(known, found, manifest)
        made = {name: (part.made_with, part.n_rows) for name, part in known.items()}
        n_rows = 0
        for path, stat in found.items():
            if self._seen.get(path) == stat:
                continue
            place = None
            for rows in new_rows(self._folder, path, self._key, made):
                if made.get(rows.name, (rows.made_with, 0))[0] != rows.made_with:
                    raise ReplacedError
                place = rows.place
                self._note(rows)
                n_rows += waiting.write_if_many(catalog)
                waiting.rows.append(rows)
            waiting.files.append(Read(self._seen, path, stat, place))
        return n_rows

    def _note(self, rows: NewRows) -> None:
        self._start_s = min(self._start_s, float(rows.shots["start_s"].min()))
        self._end_s = max(self._end_s, float(rows.shots["end_s"].max()))
        self._host = self._host or rows.host

    def _check_names(
        self, known: dict[str, KnownPart], found: Collection[Path], manifest: Manifest | None
    ) -> None:
        """Raise an error where the catalog has rows of a file that is not there any more."""
        names = {path.relative_to(self._folder).as_posix() for path in found}
        own = f"{self._product.name}.json"
        if manifest is not None and own in known and known[own].made_with == manifest.digest:
            names.add(own)
        if set(known) - names:
            raise ReplacedError


def _stat(path: Path) -> Stat | None:
    """Return what tells a file from what it was before; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
