"""Crash-safe writer of composite containers: one HDF5 file a rank, flushed every few seconds.

Layout: a group a table, a dataset a column (units and meaning as attributes); `shots/{table}_end`
is the offsets array: rows of a shot in `table` end there and begin where those of the shot before
end. The file is open in single-writer/multiple-reader mode, so what was flushed survives a
kill -9 and can be read meanwhile. A restarted rank opens a new part.
"""

import math
import socket
import time
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps import __version__
from xfel_apps.containers.product import REASON_BYTES, Product, ShotResult
from xfel_apps.containers.rows import Rows
from xfel_apps.errors import ContainerError

CHUNK_ROWS, CHUNK_BYTES = 2048, 2**14
"""A chunk has so many rows, fewer of wide columns: each file holds one of each column at least."""
CACHE_BYTES = 2**16
"""Chunk cache of each dataset; HDF5's own 1 MiB adds up over columns and files."""
FORMAT = "xfelflow-container-1"


def part_path(folder: Path, rank: int, prefix: str = "rank-") -> Path:
    """Return the first unused part file of a rank: rank-0003.h5, rank-0003.2.h5, ..."""
    path = folder / f"{prefix}{rank:04d}.h5"
    part = 2
    while path.exists():
        path = folder / f"{prefix}{rank:04d}.{part}.h5"
        part += 1
    return path


def new_container(path: Path, rank: int, product: Product, digest: str) -> h5py.File:
    """Return a new part file, open for writing, with every column and no rows."""
    file = h5py.File(path, "x", libver="latest", rdcc_nbytes=CACHE_BYTES)
    file.attrs.update(
        {
            "format": FORMAT,
            "product": product.name,
            "schema_version": product.version,
            "digest": digest,
            "code_version": __version__,
            "host": socket.gethostname(),
            "rank": rank,
        }
    )
    _create_table(file, "shots", product.shots)
    for name, rows in product.tables.items():
        _create_table(file, name, rows)
        _create(file, f"shots/{name}_end", np.dtype("i8"), ())
    return file


def _create_table(file: h5py.File, table: str, rows: type[Rows]) -> None:
    for name, meta in rows.schema().items():
        dataset = _create(file, f"{table}/{name}", meta["dtype"], meta["shape"])
        dataset.attrs["units"] = meta["unit"]
        dataset.attrs["description"] = meta["doc"]


def _create(file: h5py.File, name: str, dtype: Any, shape: tuple[int, ...]) -> h5py.Dataset:
    row_bytes = np.dtype(dtype).itemsize * math.prod(shape)
    rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))
    return file.create_dataset(
        name, shape=(0, *shape), maxshape=(None, *shape), chunks=(rows, *shape), dtype=dtype
    )


def extend(file: h5py.File, name: str, values: NDArray[Any]) -> None:
    """Append values to a column."""
    dataset = file[name]
    start = dataset.shape[0]
    dataset.resize(start + len(values), axis=0)
    dataset[start:] = values


class ContainerWriter:
    """Appends shots to one part file and makes them durable at each flush.

    Parameters
    ----------
    folder : where the product's containers lie; made if missing
    rank : number of this rank
    product : what is written
    digest : digest of everything that determines the content (settings and upstream digests)
    """

    def __init__(self, folder: Path, rank: int, product: Product, digest: str) -> None:
        self.product = product
        self.rank = rank
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path = part_path(folder, rank)
            self._file = new_container(self.path, rank, product, digest)
        except OSError as err:
            raise ContainerError(f"{folder}: cannot write here ({err})") from err
        self._pending: list[dict[str, Any]] = []
        self._rows: dict[str, list[Rows]] = {name: [] for name in product.tables}
        self._ends = dict.fromkeys(product.tables, 0)
        self._file.swmr_mode = True

    def append(self, event: int, result: ShotResult, start_s: float, cpu_s: float) -> None:
        """Add one event; it is durable after the next flush.

        Parameters
        ----------
        event : its number
        result : what the stage made of it
        start_s : when the work began [seconds since 1970]
        cpu_s : processor time spent [s]
        """
        row = {
            "event": event,
            "outcome": result.outcome.code,
            "reason": result.reason.encode()[:REASON_BYTES],
            "start_s": start_s,
            "end_s": time.time(),
            "cpu_s": cpu_s,
            "rank": self.rank,
        }
        own = self.product.shots.schema().keys() - row.keys()
        for name in own:
            row[name] = result.columns.get(name, 0)
        for name, parts in self._rows.items():
            rows = result.tables.get(name)
            if rows is not None:
                parts.append(rows)
                self._ends[name] += len(rows)
            row[f"{name}_end"] = self._ends[name]
        self._pending.append(row)

    def flush(self) -> None:
        """Write what is pending and make it durable: table rows first, then the shots."""
        if not self._pending:
            return
        for name, parts in self._rows.items():
            if parts:
                rows = self.product.tables[name].concatenate(parts)
                for key, values in rows.columns().items():
                    extend(self._file, f"{name}/{key}", values)
                parts.clear()
        self._file.flush()
        for key in self._pending[0]:
            dtype = self._file[f"shots/{key}"].dtype
            values = np.array([row[key] for row in self._pending], dtype)
            extend(self._file, f"shots/{key}", values)
        self._pending.clear()
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self.flush()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
