"""What starting the apps costs: time, and the files that are opened for it."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.errors import PackError

PROBE = """
import sys, time
start = time.perf_counter()
# What was loaded before this program, among them the encodings.
opened = {m.__cached__ for m in list(sys.modules.values()) if getattr(m, "__cached__", None)}
def note(event, arguments):
    if event == "open" and isinstance(arguments[0], str):
        opened.add(arguments[0])
sys.addaudithook(note)
import mpi4py
mpi4py.rc.initialize = False
import xfel_apps.ingest.__main__, xfel_apps.spotfind.__main__, xfel_apps.index.__main__
import xfel_apps.integrate.__main__, xfel_apps.merge.__main__
seconds = time.perf_counter() - start
import json, os
opened |= {line.split(maxsplit=5)[-1].strip() for line in open("/proc/self/maps") if "/" in line}
files = {os.path.realpath(path) for path in opened if os.path.isfile(path)}
print(json.dumps([seconds, sorted(files)]))
"""
SYSTEM = ("/usr/", "/lib", "/etc/", "/proc/", "/sys/", "/dev/")
"""Where the files of a node's own system lie."""


@dataclass(frozen=True)
class Start:
    """Start of the apps in a fresh interpreter."""

    host: str
    import_s: float
    """Time to import the apps [s]."""
    files: dict[str, int]
    """Folder -> how many of its files were opened; those of the node's system are left out."""

    def summary(self) -> str:
        """Return the figures in one line."""
        places = ", ".join(
            f"{n} below {folder} ({_file_system(folder)})" for folder, n in self.files.items()
        )
        return (
            f"{self.host}: {self.import_s:.2f} s to import the apps, "
            f"{sum(self.files.values())} files opened: {places}"
        )


def measure_start() -> Start:
    """Start a fresh interpreter, import the apps in it, and return what that cost."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackError(f"the apps do not start: {done.stderr.strip().splitlines()[-1]}")
    seconds, files = json.loads(done.stdout)
    folders = Counter(_folder(file) for file in files if not file.startswith(SYSTEM))
    host = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
    return Start(host, seconds, dict(folders.most_common()))


def _folder(file: str) -> str:
    """Return the environment, or the folder of Python's path, that a file lies in."""
    known = map(os.path.realpath, [sys.prefix, sys.base_prefix, *filter(None, sys.path)])
    return next(
        (folder for folder in known if file.startswith(f"{folder}/")), str(Path(file).parent)
    )


def _file_system(folder: str) -> str:
    """Return the kind of file system that a folder is on, such as lustre or tmpfs."""
    said = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"
