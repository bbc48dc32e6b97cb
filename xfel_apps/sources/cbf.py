"""What the two kinds of CBF have in common: telling them apart, compressed files, timestamps."""

import bz2
import datetime
import gzip
import re
from pathlib import Path
from typing import IO, cast

from xfel_apps.errors import SourceError

NAMES = (".cbf", ".cbf.gz", ".cbf.bz2")
MAGIC = b"###CBF"
HEADER_BYTES = 1 << 16
BINARY_START = b"--CIF-BINARY-FORMAT-SECTION--"
PAYLOAD_START = b"\x0c\x1a\x04\xd5"


def is_cbf_name(path: Path) -> bool:
    """Return whether the file's name is that of a CBF, which has one frame.

    >>> is_cbf_name(Path("a_0001.cbf.gz")), is_cbf_name(Path("a.h5"))
    (True, False)
    """
    return path.name.lower().endswith(NAMES)


def open_stream(path: Path) -> IO[bytes]:
    """Return the file open for reading, decompressed by its name (.gz, .bz2)."""
    if path.suffix in (".gz", ".bz2"):
        return cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else bz2.open(path))
    return path.open("rb")


def read_bytes(path: Path, n_bytes: int = -1) -> bytes:
    """Return the first `n_bytes` of the file, or all of it, decompressed."""
    try:
        with open_stream(path) as stream:
            return stream.read(n_bytes)
    except (OSError, EOFError) as err:
        raise SourceError(f"{path}: cannot read it, it may be cut short ({err})") from err


def is_cbf(path: Path) -> bool:
    """Return whether the file is a CBF, also compressed."""
    if path.suffix in (".gz", ".bz2") and not path.stem.endswith(".cbf"):
        return False
    return read_bytes(path, len(MAGIC)) == MAGIC


def has_mini_header(path: Path) -> bool:
    """Return whether the geometry is in comments (DECTRIS) instead of imgCIF categories."""
    return b"_array_data.header_convention" in read_bytes(path, 4096)


def all_images_end(path: Path) -> bool:
    """Return whether the file has images and each of them its closing line."""
    content = read_bytes(path)
    n_ends = content.count(BINARY_START + b"--")
    return 0 < n_ends == content.count(BINARY_START) - n_ends


STAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)[:Z]?(\d\d(?:\.\d+)?)?")


def timestamp_s(text: str) -> float | None:
    """Return seconds since 1970 of the first date and time in `text`, taken as UTC.

    LCLS writes `2013-03-01T06:08Z58.401`, DECTRIS `2019-09-11T13:20:28.989`.

    >>> timestamp_s("2013-03-01T06:08Z58.401")
    1362118138.401
    """
    found = STAMP.search(text)
    if found is None:
        return None
    day, minute, second = found.groups()
    start = datetime.datetime.fromisoformat(f"{day}T{minute}").replace(tzinfo=datetime.UTC)
    return round(start.timestamp() + float(second or 0.0), 6)
