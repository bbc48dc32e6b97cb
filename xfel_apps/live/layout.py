"""Where live processing keeps its files: the one place that knows.

`results/live/`, one for all trials of an experiment's results:

- `lock` : held by the daemon
- `daemon.json` : who it is; crews of another daemon end
- `status.json` : what `xfelflow live --status` shows
- `queue/NAME.json` : chunks that wait; names sort by urgency
- `taken/CREW/NAME.json` : chunks that a crew works on
- `crews/CREW.json` : what a crew is and does; renewed every second

`results/TRIAL/live/experiment.json`: settings of the trial

`results/TRIAL/RUN/live/`, one for each run:

- `chunks/0000200/events.json` : shots of the chunk that begins with shot 200, as ingest writes them
- `chunks/0000200/done.json` : every shot of it is processed and durable
- `CREW/spots/rank-0001.h5` : what a crew's ranks found; crystals and reflections alike
- `reflections.json` : what can be merged before the run is complete
- `snapshots.jsonl` : which shots each of its states had
- `first.h5` : when each shot first had each result, of crews whose files are removed
- `sealed.json` : all is in the batch's files; what the crews wrote is removed
"""

import json
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.containers.results import LIVE


@dataclass(frozen=True)
class LiveFolder:
    """Files of the daemon and its crews.

    Attributes
    ----------
    results : folder of all trials' results
    """

    results: Path

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.results / LIVE

    @property
    def lock(self) -> Path:
        """Locked by the daemon while it runs."""
        return self.folder / "lock"

    @property
    def daemon(self) -> Path:
        """Which daemon the crews work for."""
        return self.folder / "daemon.json"

    @property
    def status(self) -> Path:
        """What the daemon knew a second ago."""
        return self.folder / "status.json"

    @property
    def queue(self) -> Path:
        """Folder of the chunks that wait."""
        return self.folder / "queue"

    def taken(self, crew: str) -> Path:
        """Return the folder of the chunks that a crew has taken."""
        return self.folder / "taken" / crew

    def crew(self, crew: str) -> Path:
        """Return the file in which a crew says what it does."""
        return self.folder / "crews" / f"{crew}.json"


@dataclass(frozen=True)
class LiveRun:
    """Files of one run of one trial while it is live.

    Attributes
    ----------
    trial : folder of the trial
    run : name of the run
    """

    trial: Path
    run: str

    @property
    def products(self) -> Path:
        """Folder of the run's products, as the batch writes them."""
        return self.trial / self.run

    @property
    def folder(self) -> Path:
        """Folder of what is not yet the batch's."""
        return self.products / LIVE

    def chunk(self, first: int) -> Path:
        """Return the folder of the chunk that begins with shot `first`."""
        return self.folder / "chunks" / f"{first:07d}"

    def chunks(self) -> list[Path]:
        """Return the folders of all chunks, in order."""
        return sorted((self.folder / "chunks").glob("[0-9]*"))

    def parts(self, crew: str, product: str) -> Path:
        """Return the folder of a crew's containers of a product."""
        return self.folder / crew / product

    def all_parts(self, product: str) -> list[Path]:
        """Return the containers of a product that any crew has written."""
        return sorted(self.folder.glob(f"*/{product}/rank-*.h5"))

    @property
    def reflections(self) -> Path:
        """Manifest of the reflections so far."""
        return self.folder / "reflections.json"

    @property
    def snapshots(self) -> Path:
        """Log of the states of `reflections`."""
        return self.folder / "snapshots.jsonl"

    @property
    def first(self) -> Path:
        """Times of first results."""
        return self.folder / "first.h5"

    @property
    def sealed(self) -> Path:
        """Written once all is in the batch's files."""
        return self.folder / "sealed.json"

    def n_sealed(self) -> int | None:
        """Return how many shots the run had when it was sealed; None if it is not."""
        try:
            return int(json.loads(self.sealed.read_text())["n_live"])
        except (OSError, ValueError, KeyError):
            return None

    def crews(self) -> list[Path]:
        """Return the folders of all crews that have written something."""
        return sorted({path.parents[1] for path in self.folder.glob("*/*/*rank-*.h5")})


def experiment_file(trial: Path) -> Path:
    """Return the file with the settings that a trial is processed with."""
    return trial / LIVE / "experiment.json"
