"""xfelflow live as people start it, in a folder of its own; and the batch on the same files."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd
import psutil
import yaml

from tests.batch import run_batch
from xfel_apps import mpi
from xfel_apps.containers.results import RunResults
from xfel_apps.experiment import Experiment
from xfel_apps.simulate.run import simulate
from xfel_apps.simulate.settings import SimulateSettings

REPO = Path(__file__).parents[2]
PYTHONPATH = os.pathsep.join(map(str, (REPO, REPO / "snakemake-executor-plugin-parsl" / "src")))
SETTINGS: dict[str, Any] = {
    "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"},
    "merge": {"d_min_ang": 3.0},
    "worker": {"flush_s": 0.5},
}
LIVE = {"chunk_shots": 4, "chunk_wait_s": 0.5, "quiet_s": 4.0, "merge_wait_s": 5.0, "idle_s": 60.0}
SMALL = {
    "hit_fraction": 0.8,
    "weak_fraction": 0.0,
    "crystal": {"d_min_ang": 2.5},
    "detector": {"module_px": [640, 640], "distance_mm": 60.0},
}
FIRST_WAIT_S = 300.0


def xfelflow(*arguments: str) -> list[str]:
    """Return the command line of a verb."""
    return [sys.executable, "-c", "from xfel_apps.cli import main; main()", *arguments]


def raw_file(folder: Path, shots: int, seed: int) -> Path:
    """Return a new simulated run in one file, `r1.h5`: a shot's identity has the file's name."""
    settings = SimulateSettings.checked({**SMALL, "shots": shots, "seed": seed})
    master = simulate(settings, folder / "simulated", mpi.serial())
    path = folder / "r1.h5"
    command = xfelflow("replay", str(master), "--out", str(path), "--rate-hz", "1e6")
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": PYTHONPATH}
    )
    return path


def wait_for(what: str, is_so: Callable[[], Any], limit_s: float = FIRST_WAIT_S) -> Any:
    """Return what `is_so` says as soon as it says anything."""
    end = time.monotonic() + limit_s
    while not (found := is_so()):
        assert time.monotonic() < end, f"{what}: not after {limit_s:g} s"
        time.sleep(0.05)
    return found


@dataclass
class WholeLive:
    """A daemon, its folder, and the runs it is given.

    Attributes
    ----------
    folder : raw files, experiment file and results
    become : what stands before each command, to run it as somebody else
    environment : of each command
    options : of `xfelflow live`
    """

    folder: Path
    become: Sequence[str] = ()
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    options: Sequence[str] = ("--workers", "1")
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("raw", "results"):
            (self.folder / name).mkdir(exist_ok=True)
        live = {"watch": f"{self.folder}/raw/{{run}}.h5", **LIVE}
        data = {"results": str(self.folder / "results"), "trial": "000", "live": live, **SETTINGS}
        (self.folder / "experiment.yaml").write_text(yaml.safe_dump(data))

    @property
    def trial(self) -> Path:
        """Folder of the trial."""
        return self.folder / "results" / "000"

    @property
    def live(self) -> Path:
        """Folder of the daemon."""
        return self.folder / "results" / "live"

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the daemon."""
        command = xfelflow("live", "experiment.yaml", *self.options, *options)
        return self._popen(command, self.folder / "live.out")

    def replay(
        self, master: Path, run: str, rate_hz: float, *options: str
    ) -> subprocess.Popen[bytes]:
        """Let a run grow."""
        out = str(self.folder / "raw" / f"{run}.h5")
        command = xfelflow("replay", str(master), "--out", out, "--rate-hz", str(rate_hz))
        return self._popen([*command, *options], self.folder / "replay.out")

    def _popen(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.become, *command],
                cwd=self.folder,
                env={**self.environment, "PYTHONPATH": PYTHONPATH, "OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def ranks(self) -> list[psutil.Process]:
        """Return the processes of all crews' ranks."""
        found = []
        for process in psutil.process_iter():
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "xfel_apps.live.crew" in words and str(self.folder / "results") in words:
                found.append(process)
        return [process for process in found if Path(process.cmdline()[0]).name.startswith("py")]

    def n_done(self) -> int:
        """Return how many chunks are done."""
        return len(list(self.trial.glob("*/live/chunks/*/done.json")))

    def at_work(self) -> list[psutil.Process]:
        """Wait until a crew has done a chunk and has more to do; return its ranks."""
        wait_for("a chunk is done", self.n_done)
        return wait_for("ranks are there", self.ranks)

    def status(self) -> dict[str, Any]:
        """Return what the daemon says."""
        try:
            return dict(json.loads((self.live / "status.json").read_text()))
        except (OSError, ValueError):
            return {}

    def is_finished(self, *runs: str) -> bool:
        """Whether the runs are sealed and their dataset has its last version."""
        states = {row["run"]: row["state"] for row in self.status().get("runs", [])}
        finals = [row["is_final"] for row in self.status().get("datasets", [])]
        return all(states.get(run) == "sealed" for run in runs) and bool(finals) and all(finals)

    def finish(self, *runs: str) -> None:
        """Wait until all is done, end the daemon in order and check that nothing is left."""
        wait_for(f"{runs} are finished", lambda: self.is_finished(*runs))
        wait_for("the report", (self.trial / "report.html").is_file)
        self.end()

    def end(self) -> None:
        """End what was started, in order, and by force what does not end."""
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.started.clear()
        for process in self.ranks():
            process.kill()

    def said(self) -> str:
        """Return what the daemon has printed."""
        path = self.folder / "live.out"
        return path.read_text() if path.exists() else ""


def batch(folder: Path, raw: dict[str, Path]) -> Path:
    """Return the trial's folder after the batch's apps have done the runs, from scratch."""
    trial = folder / "batch" / "000"
    data = {"runs": {run: [str(path)] for run, path in raw.items()}, **SETTINGS}
    experiment = Experiment.checked({**data, "datasets": {"all": sorted(raw)}})
    run_batch(experiment, trial)
    return trial


def assert_same_result(found: Path, expected: Path, runs: Sequence[str]) -> None:
    """Compare two trials: how each event ended, and the merged intensities of the last version."""
    for run in runs:
        ends = [RunResults(trial / run).outcomes["outcome"] for trial in (found, expected)]
        pd.testing.assert_series_equal(*ends, obj=f"outcomes of {run}")
    one, two = (_last_merged(trial) for trial in (found, expected))
    assert one.columns.tolist() == two.columns.tolist()
    np.testing.assert_allclose(one.to_numpy(), two.to_numpy(), rtol=1e-6, atol=1e-6)


def _last_merged(trial: Path) -> pd.DataFrame:
    path = max((trial / "datasets" / "all").glob("v*/merged.mtz"))
    mtz = gemmi.read_mtz_file(str(path))
    return pd.DataFrame(np.array(mtz), columns=mtz.column_labels()).sort_values(["H", "K", "L"])
