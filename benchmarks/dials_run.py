"""DIALS on the images that we process, in the same run.

As Debian packages it, `dials.stills_process` looks for a compiled module, `xfel_mono_sim_ext`, of
which nothing is used: an empty file of that name lets it run.
"""

import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.interchange import load

STAND_IN = "xfel_mono_sim_ext.py"
SYSTEM_PYTHON = "/usr/bin/python3"
TURNED = Path(__file__).with_name("dials_turned.py")
COLUMNS = ["still", "panel", "fast_px", "slow_px", "intensity", "variance"]


@dataclass(frozen=True)
class Dials:
    """What DIALS made of some stills.

    Attributes
    ----------
    reflections : a row each, `event` the number of the image
    turned : what it integrates with its crystals turned, same columns as far as they go
    cpu_s : processor time of `dials.stills_process`
    events : numbers of all images
    """

    reflections: pd.DataFrame
    turned: pd.DataFrame
    cpu_s: float
    events: range


def cpu_seconds() -> float:
    """Return the processor time of this process and of those that it started and saw end."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def run_dials(
    images: Sequence[Path], phil: str, turns_deg: Sequence[float], folder: Path
) -> Dials | None:
    """Return what DIALS makes of images; None where it is not installed.

    Parameters
    ----------
    images : that it reads
    phil : its parameters
    turns_deg : by which crystals are turned about the beam, to see what it finds where nothing is
    folder : to work in
    """
    program = shutil.which("dials.stills_process")
    if program is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STAND_IN).touch()
    (folder / "our.phil").write_text(f"{phil}\nmp.nproc=1\noutput.composite_output=True\n")
    start = cpu_seconds()
    _call([program, "our.phil", *map(str, images)], folder)
    cpu_s = cpu_seconds() - start
    files = [folder / f"idx-0000_integrated.{kind}" for kind in ("expt", "refl")]
    rows = _load(files, images, folder / "run")
    turns = [str(angle) for angle in turns_deg]
    _call([SYSTEM_PYTHON, str(TURNED), str(files[0]), "our.phil", "turned.txt", *turns], folder)
    turned = pd.read_csv(folder / "turned.txt", sep=" ", names=COLUMNS)
    turned["event"] = np.sort(rows["event"].unique())[turned["still"]]
    turned["sigma"] = np.sqrt(turned["variance"])
    return Dials(rows, turned, cpu_s, range(len(images)))


def _load(files: list[Path], images: Sequence[Path], run: Path) -> pd.DataFrame:
    """Return integrated reflections, their event the number of the image."""
    load(files, run)
    results = RunResults(run)
    frame = results.reader(REFLECTIONS).frame("reflections")
    names = [path.name for path in images]
    numbers = [
        names.index(results.events.location(event)[0].name) for event in results.events.frame.index
    ]
    results.close()
    frame["event"] = np.array(numbers)[frame["event"]]
    return frame


def _call(command: list[str], folder: Path) -> None:
    """Run a program of DIALS with nothing of ours in its way; its words go to a file."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log.txt").open("a") as log:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed; see {folder / 'log.txt'}")
