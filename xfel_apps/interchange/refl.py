"""Reflection tables of DIALS (`.refl`), a column at a time.

The file is msgpack: [NAME, 1, {"identifiers": {id: text}, "nrows": n, "data": {column: [type, [n,
bytes]]}}], the bytes little-endian. Only the columns asked for are kept in memory.
"""

import shutil
import struct
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import msgpack
import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError

NAME = "dials::af::reflection_table"
TYPES: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "double": ("<f8", ()),
    "int": ("<i4", ()),
    "std::size_t": ("<u8", ()),
    "bool": ("?", ()),
    "vec3<double>": ("<f8", (3,)),
    "cctbx::miller::index<>": ("<i4", (3,)),
    "int6": ("<i4", (6,)),
}
"""Types of columns with a fixed size: of one element, and how many make a row."""

MAX_BYTES = 2**32 - 1
"""Longest column that the format can hold."""

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class ReflTable:
    """Columns of a reflection table.

    Attributes
    ----------
    path : of the file
    n_rows : of the table
    columns : those that were asked for and are there
    identifiers : number of an experiment in column `id` -> its identifier
    """

    path: Path
    n_rows: int
    columns: Columns
    identifiers: Mapping[int, str]

    def need(self, name: str) -> NDArray[Any]:
        """Return a column that must be there."""
        if name not in self.columns:
            raise SourceError(
                f"{self.path}: the table has no column {name}; give the file that DIALS wrote "
                "after finding spots, indexing or integrating"
            )
        return self.columns[name]


def read_refl(path: Path, names: Collection[str] | None = None) -> ReflTable:
    """Return columns of a reflection table.

    Parameters
    ----------
    path : of the file
    names : columns to read, as far as they are there [default: all of a fixed size]
    """
    try:
        with path.open("rb") as file:
            _check_kind(path, file.read(8))
            file.seek(0)
            return _read(path, file, names)
    except FileNotFoundError as err:
        raise SourceError(f"{path}: no such file") from err
    except (OSError, msgpack.UnpackException, ValueError, TypeError, struct.error) as err:
        raise SourceError(f"{path}: cut short or damaged; copy it again ({_said(err)})") from err


def _said(err: Exception) -> str:
    return str(err) or type(err).__name__


def _check_kind(path: Path, start: bytes) -> None:
    """Refuse what is not a msgpack reflection table by its first bytes."""
    if start.startswith((b"\x80", b"(", b"cdials", b"ccopy")):
        raise SourceError(
            f"{path}: a pickled reflection table of an old DIALS; write it again there "
            "(flex.reflection_table.from_pickle, then as_msgpack_file)"
        )
    if start.startswith(b"\x89HDF"):
        raise SourceError(f"{path}: a reflection table as HDF5; write it as msgpack in DIALS")
    if start[:1] != b"\x93":
        raise SourceError(f"{path}: not a reflection table of DIALS (.refl)")


def _read(path: Path, file: IO[bytes], names: Collection[str] | None) -> ReflTable:
    unpacker = msgpack.Unpacker(
        file, raw=False, strict_map_key=False, max_buffer_size=0, read_size=1 << 20
    )
    unpacker.read_array_header()
    if unpacker.unpack() != NAME:
        raise SourceError(f"{path}: not a reflection table of DIALS (.refl)")
    unpacker.unpack()  # the version, 1 so far
    identifiers: dict[int, str] = {}
    columns: dict[str, NDArray[Any]] = {}
    n_rows = 0
    for _ in range(unpacker.read_map_header()):
        key = unpacker.unpack()
        if key == "identifiers":
            identifiers = {int(k): str(v) for k, v in unpacker.unpack().items()}
        elif key == "nrows":
            n_rows = int(unpacker.unpack())
        elif key == "data":
            columns = _columns(unpacker, names)
        else:
            unpacker.skip()
    for name, values in columns.items():
        if len(values) != n_rows:
            raise SourceError(f"{path}: {name} has {len(values)} rows, the table {n_rows}")
    return ReflTable(path, n_rows, columns, identifiers)


def _columns(unpacker: Any, names: Collection[str] | None) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    for _ in range(unpacker.read_map_header()):
        name = unpacker.unpack()
        unpacker.read_array_header()
        kind = unpacker.unpack()
        if kind not in TYPES or (names is not None and name not in names):
            unpacker.skip()
            continue
        _, data = unpacker.unpack()
        dtype, shape = TYPES[kind]
        columns[name] = np.frombuffer(data, dtype).reshape(-1, *shape)
    return columns


class ReflWriter:
    """Writes a reflection table whose rows come in pieces; memory holds one piece.

    Each column is kept in a temporary file beside the target until all rows are known.

    Parameters
    ----------
    path : file to write
    types : column -> its type, a key of `TYPES`
    """

    def __init__(self, path: Path, types: Mapping[str, str]) -> None:
        self.path = path
        self.n_rows = 0
        self._types = dict(types)
        self._spools: dict[str, IO[bytes]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for name in types:
                self._spools[name] = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115 - closed in __exit__
        except OSError as err:
            raise SourceError(f"{path}: cannot write ({err})") from err

    def append(self, columns: Mapping[str, Any]) -> None:
        """Add rows: column -> values (n, ...); every column must be given."""
        if columns.keys() != self._types.keys():
            raise KeyError(f"columns {sorted(columns.keys() ^ self._types.keys())}")
        lengths = set()
        for name, values in columns.items():
            dtype, shape = TYPES[self._types[name]]
            rows = np.ascontiguousarray(values, dtype=dtype).reshape(-1, *shape)
            lengths.add(len(rows))
            self._spools[name].write(rows.tobytes())
        (n_rows,) = lengths
        self.n_rows += n_rows

    def finish(self, identifiers: Sequence[str]) -> None:
        """Write the file, whole or not at all; experiment i has identifiers[i]."""
        part = self.path.with_name(f".{self.path.name}.part")
        packer = msgpack.Packer()
        with part.open("wb") as file:
            file.write(packer.pack_array_header(3) + packer.pack(NAME) + packer.pack(1))
            file.write(packer.pack_map_header(3))
            file.write(packer.pack("identifiers") + packer.pack(dict(enumerate(identifiers))))
            file.write(packer.pack("nrows") + packer.pack(self.n_rows))
            file.write(packer.pack("data") + packer.pack_map_header(len(self._types)))
            for name, kind in self._types.items():
                file.write(packer.pack(name) + packer.pack_array_header(2) + packer.pack(kind))
                file.write(packer.pack_array_header(2) + packer.pack(self.n_rows))
                self._copy(name, file)
        part.replace(self.path)

    def _copy(self, name: str, file: IO[bytes]) -> None:
        spool = self._spools[name]
        n_bytes = spool.tell()
        if n_bytes > MAX_BYTES:
            raise SourceError(
                f"{self.path}: {self.n_rows} rows are more than a reflection table can hold; "
                "export fewer runs at once"
            )
        file.write(b"\xc6" + struct.pack(">I", n_bytes))
        spool.seek(0)
        shutil.copyfileobj(spool, file, 1 << 20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for spool in self._spools.values():
            spool.close()
