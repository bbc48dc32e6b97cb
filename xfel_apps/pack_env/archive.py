"""The archive: files as they must be at another place, compressed, with a digest."""

import hashlib
import importlib.util
import io
import re
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from xfel_apps.errors import PackError
from xfel_apps.pack_env.contents import Entry

COMPRESSORS = {".tar.zst": ("zstd", "-3", "-T0"), ".tar.lz4": ("lz4", "-1"), ".tar": ("cat",)}
"""Ending of the archive -> the command that makes it of a tar stream."""
UNPACKERS = {".tar.zst": "zstd -dqc", ".tar.lz4": "lz4 -dqc", ".tar": "cat"}
"""Ending of the archive -> the command that writes the tar stream, run on the nodes."""
SHEBANG = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")/python" "$0" "$@"
' '''
"""
"""First lines of a script for the Python beside it, wherever that is: sh runs the second one."""
LONGEST_SHEBANG = 512


def ending(archive: Path) -> str:
    """Return the ending of an archive's name, which says how it is compressed."""
    for known in COMPRESSORS:
        if archive.name.endswith(known):
            return known
    raise PackError(f"{archive}: the name must end with one of {', '.join(COMPRESSORS)}")


class _Digesting(io.RawIOBase):
    """Passes on what is written, and its digest and size."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:  # type: ignore[override]  # tarfile writes bytes
        self.digest.update(data)
        return self.stream.write(data)


@contextmanager
def compressed(archive: Path) -> Iterator[_Digesting]:
    """Open an archive to write a tar stream to; it appears under its name when it is whole."""
    command = COMPRESSORS[ending(archive)]
    if shutil.which(command[0]) is None:
        raise PackError(f"no program {command[0]}: install it, or choose another ending for --out")
    part = archive.with_name(f".{archive.name}.part")
    try:
        with part.open("wb") as output, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=said)
            assert process.stdin is not None
            try:
                with process.stdin:
                    yield _Digesting(process.stdin)
            finally:
                failed = process.wait() != 0
            if failed:
                said.seek(0)
                raise OSError(said.read().decode().strip())
        part.replace(archive)
    except OSError as err:
        raise PackError(f"cannot write {archive}: {err}") from None
    finally:
        part.unlink(missing_ok=True)


def write(
    entries: Sequence[Entry],
    links: Mapping[str, str],
    archive: Path,
    said: Callable[[str], None],
) -> str:
    """Write files to an archive and return the digest of what is in it.

    Parameters
    ----------
    entries : what is packed
    links : name in the archive -> what it points to
    archive : to write
    said : called for every file, with what happened to it
    """
    with (
        compressed(archive) as stream,
        tarfile.open(fileobj=stream, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        for entry in entries:
            said("copied" if _add(tar, entry) else "made movable")
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return stream.digest.hexdigest()


def _add(tar: tarfile.TarFile, entry: Entry) -> bool:
    """Add one file; return whether it is a mere copy."""
    info = tarfile.TarInfo(entry.name)
    status = entry.source.stat()
    info.mode = status.st_mode | stat.S_IRUSR | stat.S_IWUSR
    # Bytecode is valid for a source of this time [s].
    info.mtime = int(status.st_mtime)
    script = movable_script(entry.source) if entry.name.startswith("bin/") else None
    info.size = status.st_size if script is None else len(script)
    with io.BytesIO(script) if script is not None else entry.source.open("rb") as data:
        tar.addfile(info, data)
    return script is None


def movable_script(path: Path) -> bytes | None:
    """Return a Python script that runs under the Python beside it; None: it is no such script."""
    with path.open("rb") as file:
        first = file.readline(LONGEST_SHEBANG)
        if not re.match(rb"#!.*python", first):
            return None
        return SHEBANG + file.read()


def with_bytecode(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """Return the entries and the bytecode of their Python files, so that no node compiles them.

    Parameters
    ----------
    entries : of which those that lack bytecode are compiled
    folder : for bytecode that is made
    """
    sources = [e for e in entries if e.source.suffix == ".py" and e.name.endswith(".py")]
    made = [e.source for e in sources if not is_compiled(e.source)]
    # It fails where one file is not of this Python (templates, tests): that one goes without.
    subprocess.run(
        [sys.executable, "-X", f"pycache_prefix={folder}", "-m", "compileall", "-qq", "-j0", "-i-"],
        input="\n".join(map(str, made)), text=True, check=False, capture_output=True,
    )  # fmt: skip
    fresh = set(made)
    bytecode = [_bytecode(e, folder if e.source in fresh else None) for e in sources]
    return [*entries, *(each for each in bytecode if each.source.is_file())]


def _bytecode(entry: Entry, folder: Path | None) -> Entry:
    """Return the bytecode of a Python file, which lies beside it or below `folder`.

    New bytecode gets the time of its source, so that equal files make an equal archive.
    """
    cached = Path(importlib.util.cache_from_source(str(entry.source)))
    if folder is not None:
        cached = folder / entry.source.parent.relative_to("/") / cached.name
        if cached.is_file():
            shutil.copystat(entry.source, cached)
    return Entry(cached, str(Path(entry.name).parent / "__pycache__" / cached.name))


def is_compiled(source: Path) -> bool:
    """Return whether the bytecode beside a Python file is that of the file as it is now."""
    cached = Path(importlib.util.cache_from_source(str(source)))
    if not cached.is_file():
        return False
    with cached.open("rb") as file:
        head = file.read(16)
    status = source.stat()
    words = struct.pack("<3L", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
    return head == importlib.util.MAGIC_NUMBER + words
