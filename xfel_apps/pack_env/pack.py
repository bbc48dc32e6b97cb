"""An environment in one archive, and the script that brings it to the nodes of a job."""

import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.errors import PackError
from xfel_apps.pack_env import archive as archives
from xfel_apps.pack_env import interpreter
from xfel_apps.pack_env.contents import Entry, environment_files
from xfel_apps.progress import Progress

TEMPLATE = Path(__file__).with_name("activate.sh")
BLOCK_KB = 4
"""What a small file takes on a disk [kB]."""


@dataclass(frozen=True)
class PackedEnvironment:
    """What was written."""

    archive: Path
    script: Path
    files: int
    unpacked_kb: int
    packages: tuple[str, ...]
    """Packages that were taken from their sources."""

    def summary(self) -> str:
        """Return what was written and how to use it."""
        size_mb = self.archive.stat().st_size / 1e6
        return (
            f"{self.archive}: {self.files} files, {size_mb:.0f} MB, "
            f"{self.unpacked_kb / 1000:.0f} MB on each node; "
            f"{', '.join(self.packages)} as they are now\n"
            f"in a batch script: source {self.script} || exit 1"
        )


def pack_env(archive: Path, node_folder: str, extra: Sequence[str] = ()) -> PackedEnvironment:
    """Pack the environment that runs this, with its Python, and write the script to use it.

    Parameters
    ----------
    archive : to write; its ending says how it is compressed
    node_folder : folder on each node's own disk; the nodes' shell expands variables in it
    extra : more packages to take, by the names they are imported by
    """
    archive = archive.absolute()
    ending = archives.ending(archive)
    if any(sign in node_folder for sign in '"`\\\n'):
        raise PackError(f"--node-folder {node_folder}: quotes, ` and \\ are not understood")
    with tempfile.TemporaryDirectory(prefix="xfelflow-pack-") as folder:
        entries, packages = environment_files(interpreter.SITE, extra)
        entries += interpreter.interpreter_files(interpreter.movable_program(Path(folder)))
        entries = archives.with_bytecode(entries, Path(folder))
        with Progress("packing", len(entries)) as progress:
            digest = archives.write(entries, interpreter.LINKS, archive, progress.report)
        packed = PackedEnvironment(
            archive, _script(archive, ending), len(entries), _disk_kb(entries), tuple(packages)
        )
    _write_script(packed, digest, node_folder)
    return packed


def _script(archive: Path, ending: str) -> Path:
    return archive.with_name(archive.name.removesuffix(ending) + ".sh")


def _disk_kb(entries: Sequence[Entry]) -> int:
    blocks = sum(1 + entry.source.stat().st_size // (1024 * BLOCK_KB) for entry in entries)
    return blocks * BLOCK_KB


def _write_script(packed: PackedEnvironment, digest: str, node_folder: str) -> None:
    ending = archives.ending(packed.archive)
    values = {
        "PREFIX": sys.prefix,
        "SCRIPT": shlex.quote(str(packed.script)),
        "ARCHIVE": shlex.quote(str(packed.archive)),
        "NODE_FOLDER": node_folder,
        "DIGEST": digest[:16],
        "KILOBYTES": str(packed.unpacked_kb),
        "UNPACK": archives.UNPACKERS[ending],
        "BASE": interpreter.BASE,
        "ENDING": ending,
    }
    text = TEMPLATE.read_text()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    part = packed.script.with_name(f".{packed.script.name}.part")
    part.write_text(text)
    part.replace(packed.script)
