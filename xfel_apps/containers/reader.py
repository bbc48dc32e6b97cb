"""Reader of a product: all its part files as one, ordered by event, O(1) in the shot wanted."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.rows import R, Rows
from xfel_apps.containers.writer import CACHE_BYTES, FORMAT
from xfel_apps.errors import ContainerError

LOOKS, LOOK_AGAIN_S = 5, 0.02
"""How often, and how far apart [s], a file is looked at that is shorter than it says."""


def open_part(path: Path) -> h5py.File:
    """Return a part file open for reading, also one that is being written or was left so.

    One that was cut short is refused: to read it as if it were being written is to wait for what
    will never come. A file that is being written says its new length a moment before it has it.
    """
    for _ in range(LOOKS):
        try:
            return h5py.File(path, "r", libver="latest", rdcc_nbytes=CACHE_BYTES)
        except OSError as err:
            problem = err
        if "truncated file" not in str(problem):
            return _open_unfinished(path)
        time.sleep(LOOK_AGAIN_S)
    raise ContainerError(f"{path}: not a readable container ({problem})")


def _open_unfinished(path: Path) -> h5py.File:
    """Return a part file that is being written, or that a killed writer left."""
    try:
        return h5py.File(path, "r", libver="latest", swmr=True, rdcc_nbytes=CACHE_BYTES)
    except OSError as err:
        raise ContainerError(f"{path}: not a readable container ({err})") from err


class Part:
    """One part file: which events it has and where their rows are."""

    def __init__(self, path: Path, product: Product) -> None:
        self.path = path
        self.file = open_part(path)
        attrs = self.file.attrs
        if attrs.get("format") != FORMAT or attrs.get("product") != product.name:
            raise ContainerError(f"{path}: not a {product.name} container")
        if attrs["schema_version"] != product.version:
            raise ContainerError(
                f"{path}: {product.name} version {attrs['schema_version']}, this code reads "
                f"{product.version}; remove it and run {product.stage} again"
            )
        self.digest = str(attrs["digest"])
        self.product = product
        self.n_shots = self._complete_shots()
        self.events: NDArray[np.int64] = self.file["shots/event"][: self.n_shots]
        self.ends: dict[str, NDArray[np.int64]] = {
            name: self.file[f"shots/{name}_end"][: self.n_shots] for name in product.tables
        }

    def _complete_shots(self) -> int:
        """Return how many shots have all their columns and all their table rows on disk."""
        group = self.file["shots"]
        n_shots = min(int(dataset.shape[0]) for dataset in group.values())
        for name in self.product.tables:
            n_rows = min(int(dataset.shape[0]) for dataset in self.file[name].values())
            ends = group[f"{name}_end"][:n_shots]
            n_shots = int(np.searchsorted(ends, n_rows, side="right"))
        return n_shots

    def span(self, table: str, shot: int) -> slice:
        """Return where the rows of the shot in `table` are."""
        ends = self.ends[table]
        return slice(int(ends[shot - 1]) if shot else 0, int(ends[shot]))

    def rows(self, table: str, where: slice) -> dict[str, NDArray[Any]]:
        """Return the columns of a span of rows."""
        group = self.file[table]
        schema = (
            self.product.shots.schema() if table == "shots" else self.product.tables[table].schema()
        )
        return {name: group[name][where] for name in schema}


def readable_parts(
    paths: Iterable[Path], product: Product, digest: str | None = None
) -> Iterator[Part]:
    """Yield the parts that can be read, those with this digest or, without one, all.

    Those that were cut short or are only just being made are passed over. A part is closed when
    the next one is asked for.
    """
    for path in paths:
        try:
            part = Part(path, product)
        except (ContainerError, KeyError, OSError):
            continue
        try:
            if digest in (None, part.digest):
                yield part
        finally:
            part.file.close()


class ProductReader:
    """All containers of one product of one run.

    Parameters
    ----------
    paths : part files, in any order; an event in two of them counts once (the first path)
    product : what they hold
    """

    def __init__(self, paths: Iterable[Path], product: Product) -> None:
        self.product = product
        self._parts = [Part(path, product) for path in sorted(paths)]
        events = np.concatenate([np.empty(0, np.int64), *(part.events for part in self._parts)])
        self.events: NDArray[np.int64]
        self.events, first = np.unique(events, return_index=True)
        lengths = [part.n_shots for part in self._parts]
        self._part = np.repeat(np.arange(len(lengths)), lengths)[first]
        self._shot = first - np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)[self._part]

    @classmethod
    def from_folder(cls, folder: Path, product: Product, digest: str) -> "ProductReader":
        """Return the shots that earlier runs of the same app left in `folder`.

        Parts with another digest (other settings or other input) do not belong to the product.
        """
        paths = [p for p in folder.glob("rank-*.h5") if _digest_of(p) == digest]
        return cls(paths, product)

    @property
    def paths(self) -> list[Path]:
        """Part files that hold at least one event of the product."""
        return [self._parts[number].path for number in np.unique(self._part)]

    def __contains__(self, event: int) -> bool:
        return self._place(event) is not None

    def _place(self, event: int) -> tuple[int, int] | None:
        """Return the number of the part that an event is in, and its place there."""
        at = int(np.searchsorted(self.events, event))
        if at == len(self.events) or self.events[at] != event:
            return None
        return int(self._part[at]), int(self._shot[at])

    def rows(self, table: str, event: int, kind: type[R]) -> R:
        """Return the rows of one event in `table` as `kind`; none if the event is not here."""
        found = self._place(event)
        if found is None:
            return kind.empty()
        part = self._parts[found[0]]
        return kind(**part.rows(table, part.span(table, found[1])))

    def columns(
        self, table: str, events: NDArray[np.int64], names: Sequence[str]
    ) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        """Return how many rows each of `events` has in `table`, and their columns `names`.

        Rows come in the order of `events`. Few large reads: meant for many events at once.
        """
        at = np.searchsorted(self.events, events)
        if len(at) and (at.max() == len(self.events) or (self.events[at] != events).any()):
            raise KeyError(f"not all of these events are in {self.product.name}")
        in_part, shot = self._part[at], self._shot[at]
        start, stop = np.zeros((2, len(events)), dtype=np.int64)
        for number, part in enumerate(self._parts):
            mine = in_part == number
            ends = np.concatenate([[0], part.ends[table]])
            start[mine], stop[mine] = ends[shot[mine]], ends[shot[mine] + 1]
        counts = stop - start
        out_start = np.cumsum(counts) - counts
        schema = self.product.tables[table].schema()
        result = {
            name: np.empty((int(counts.sum()), *schema[name]["shape"]), schema[name]["dtype"])
            for name in names
        }
        for number in np.unique(in_part):
            mine = (in_part == number) & (counts > 0)
            if not mine.any():
                continue
            low, high = int(start[mine].min()), int(stop[mine].max())
            source = ranges(start[mine] - low, counts[mine])
            target = ranges(out_start[mine], counts[mine])
            group = self._parts[number].file[table]
            for name, values in result.items():
                values[target] = group[name][low:high][source]
        return counts, result

    def shots(self) -> pd.DataFrame:
        """Return the shots table as a frame indexed by event, in order; outcome and reason text."""
        columns = self.shot_columns(list(self.product.shots.schema()))
        names = np.array([str(outcome) for outcome in Outcome], dtype=object)
        columns["outcome"] = names[columns["outcome"]]
        columns["reason"] = decoded(columns["reason"])
        return pd.DataFrame(columns).set_index("event")

    def shot_columns(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return columns `names` of the shots table as they are stored, in order of event.

        Only these are read: meant for very many events.
        """
        schema = self.product.shots.schema()
        result = {
            name: np.empty((len(self.events), *schema[name]["shape"]), schema[name]["dtype"])
            for name in names
        }
        for number, part in enumerate(self._parts):
            mine = self._part == number
            for name, values in result.items():
                values[mine] = part.file[f"shots/{name}"][: part.n_shots][self._shot[mine]]
        return result

    def each(self, table: str, kind: type[R]) -> Iterator[tuple[int, R]]:
        """Yield (event, its rows in `table`) in order of event."""
        for event in self.events:
            yield int(event), self.rows(table, int(event), kind)

    def frame(self, table: str) -> pd.DataFrame:
        """Return a whole table as a frame, ordered by event, with the column `event` first."""
        pieces = []
        for number, part in enumerate(self._parts):
            columns = part.rows(table, slice(0, int(part.ends[table][-1]) if part.n_shots else 0))
            counts = np.diff(part.ends[table], prepend=0)
            mine = np.zeros(part.n_shots, dtype=bool)
            mine[self._shot[self._part == number]] = True
            flat: dict[str, NDArray[Any]] = {"event": np.repeat(part.events, counts)}
            for name, values in columns.items():
                flat.update(_flatten(name, values))
            pieces.append(pd.DataFrame(flat)[np.repeat(mine, counts)])
        if not pieces:
            return _no_rows(self.product.tables[table])
        whole = pd.concat(pieces, ignore_index=True)
        return whole.sort_values("event", kind="stable", ignore_index=True)

    def close(self) -> None:
        """Close all part files."""
        for part in self._parts:
            part.file.close()


def ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the integers of all ranges start ... start + count, one after the other.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    before = np.cumsum(counts) - counts
    return np.asarray(np.arange(counts.sum()) + np.repeat(starts - before, counts))


def _digest_of(path: Path) -> str | None:
    """Return the digest of a part file; None where a writer died before it could be opened."""
    try:
        with open_part(path) as file:
            return str(file.attrs.get("digest"))
    except ContainerError:
        return None


def _no_rows(kind: type[Rows]) -> pd.DataFrame:
    """Return a frame with the columns of a table and no rows."""
    flat: dict[str, NDArray[Any]] = {"event": np.empty(0, dtype=np.int64)}
    for name, values in kind.empty().columns().items():
        flat.update(_flatten(name, values))
    return pd.DataFrame(flat)


def decoded(texts: NDArray[np.bytes_]) -> NDArray[np.object_]:
    """Return stored texts (n,) as str; equal ones are decoded once.

    >>> decoded(np.array([b"P 1", b"P 21", b"P 1"])).tolist()
    ['P 1', 'P 21', 'P 1']
    """
    if not texts.any():  # the commonest: no reason at all
        return np.full(len(texts), "", dtype=object)
    codes, distinct = pd.factorize(texts.astype(object))
    names = np.array([text.decode(errors="replace") for text in distinct], dtype=object)
    return names[codes]


def _flatten(name: str, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return columns of one number a row: name_0, name_1 ... for a column of short vectors."""
    if values.dtype.kind == "S":
        return {name: decoded(values)}
    if values.ndim == 1:
        return {name: values}
    flat = values.reshape(len(values), math.prod(values.shape[1:]))
    return {f"{name}_{i}": flat[:, i] for i in range(flat.shape[1])}
