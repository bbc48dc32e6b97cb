"""Starting the process that brings results into the catalog, and letting it finish."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from xfel_apps.experiment import Experiment

END_S = 60.0
"""At the end of the work it has so long to bring in the rest [s]."""
HAND_OVER_S = 5.0
"""It has so long where another one goes on [s]."""


class Follower:
    """A process beside the work, for as long as that takes; none where no catalog is named.

    Parameters
    ----------
    experiments : of the trials that are worked on; the first one names catalog and experiment
    """

    def __init__(self, experiments: Sequence[Experiment] = ()) -> None:
        self._experiments = list(experiments)
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it; the work does not wait for the database to answer."""
        first = self._experiments[0]
        if not first.catalog:
            return
        trials = {item.trial: item.model_dump(mode="json") for item in self._experiments}
        self.start_on(first.catalog, first.experiment, Path(first.results), trials)

    def start_on(
        self, url: str, experiment: str, results: Path, trials: Mapping[str, Any] | None = None
    ) -> None:
        """Start it for a folder of results.

        Parameters
        ----------
        url, experiment : catalog, and name of the experiment in it
        trials : trial -> its experiment file; None: all trials there are
        """
        self.process = subprocess.Popen(
            [sys.executable, "-m", "xfel_apps.catalog.follow", "--parent", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        source = {
            "url": url,
            "experiment": experiment,
            "results": str(results.absolute()),
            "trials": trials or {},
        }
        with suppress(BrokenPipeError):  # it says itself why it has ended
            self._pipe.write(json.dumps(source) + "\n")
            self._pipe.flush()

    def renew(self, experiments: Sequence[Experiment]) -> None:
        """Follow these trials from now on, where they are not those that it follows."""
        if [item.trial for item in experiments] == [item.trial for item in self._experiments]:
            return
        self.end(HAND_OVER_S)
        self._experiments = list(experiments)
        self.start()

    @property
    def _pipe(self) -> IO[str]:
        assert self.process is not None  # it was started,
        assert self.process.stdin is not None  # with a pipe
        return self.process.stdin

    def end(self, limit_s: float = END_S) -> None:
        """Let it bring in the rest; one that takes longer is ended."""
        if self.process is None:
            return
        with suppress(BrokenPipeError):
            self._pipe.close()
        try:
            self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None
