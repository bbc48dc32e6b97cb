"""What the daemon knows, as a file that anyone can read at any time."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from xfel_apps.containers.manifest import write_text
from xfel_apps.containers.outcome import Outcome
from xfel_apps.errors import ContainerError
from xfel_apps.live.crews import Crew
from xfel_apps.live.layout import LiveFolder
from xfel_apps.live.merges import Version
from xfel_apps.live.run import TrialRun

HITS = (Outcome.HIT_NOT_INDEXED, Outcome.INDEXED, Outcome.INTEGRATED)
LATTICES = (Outcome.INDEXED, Outcome.INTEGRATED)


@dataclass(frozen=True)
class Status:
    """What the daemon knew a moment ago; every item is plain JSON.

    Attributes
    ----------
    daemon : who it is: host, pid, started_s
    now_s : when this was written [s since 1970]
    runs : one mapping a run and trial (see `of_run`)
    chunks : chunks waiting, taken and done
    crews : one mapping a crew (see `of_crew`)
    blocks : pool -> blocks running, pending and allowed
    datasets : one mapping a dataset and trial (see `of_version`)
    tasks : sealings, merges and reports under way
    news : what happened last, one line each
    """

    daemon: Mapping[str, Any]
    now_s: float
    runs: Sequence[Mapping[str, Any]]
    chunks: Mapping[str, int]
    crews: Sequence[Mapping[str, Any]]
    blocks: Mapping[str, Mapping[str, int]]
    datasets: Sequence[Mapping[str, Any]]
    tasks: Sequence[str] = ()
    news: Sequence[str] = field(default_factory=tuple)

    def write(self, live: LiveFolder) -> None:
        """Write the status whole or not at all."""
        write_text(live.status, json.dumps(asdict(self)) + "\n")

    @classmethod
    def read(cls, live: LiveFolder) -> "Status":
        """Return the status that a daemon wrote last."""
        try:
            return cls(**json.loads(live.status.read_text()))
        except FileNotFoundError as err:
            raise ContainerError(
                f"{live.results}: nothing was ever processed live here; "
                "start with `xfelflow live EXPERIMENT.yaml`"
            ) from err
        except (OSError, ValueError, TypeError) as err:
            raise ContainerError(f"{live.status}: not readable ({err})") from err


def of_run(run: TrialRun, state: str, trouble: str) -> dict[str, Any]:
    """Return what is known of a run."""
    outcomes = run.outcomes
    n_hits = sum(outcomes.get(str(name), 0) for name in HITS)
    n_indexed = sum(outcomes.get(str(name), 0) for name in LATTICES)
    return {
        "trial": run.trial.name,
        "run": run.run,
        "state": state,
        "n_seen": run.sealed.n_events if run.sealed else run.n_seen + run.n_waiting,
        "n_done": run.sealed.n_events if run.sealed else run.n_done,
        "n_hits": n_hits,
        "n_indexed": n_indexed,
        "n_lattices": run.n_lattices,
        "latency_s": run.latency_s,
        "trouble": trouble,
    }


def of_crew(crew: Crew) -> dict[str, Any]:
    """Return what is known of a crew."""
    said = crew.said
    state = "lost" if crew.is_lost else said.get("state", "waits for its block")
    return {
        "name": crew.name,
        "pool": crew.pool or said.get("pool", ""),
        "host": said.get("host", ""),
        "n_ranks": said.get("n_ranks"),
        "state": state,
        "n_shots": said.get("n_shots", 0),
        "shots_hz": crew.shots_hz,
        "beat_age_s": round(time.monotonic() - crew.seen_s, 1) if said else None,
    }


def of_version(trial: str, dataset: str, version: Version) -> dict[str, Any]:
    """Return what is known of the newest version of a dataset."""
    overall = version.manifest.statistics["overall"]
    return {
        "trial": trial,
        "dataset": dataset,
        "version": version.name,
        "made_s": version.made_s,
        "n_runs": len(version.manifest.inputs),
        "n_crystals": version.manifest.n_crystals,
        "d_min_ang": version.manifest.d_min_ang,
        "cc_half": overall["cc_half"],
        "completeness": overall["completeness"],
        "multiplicity": overall["multiplicity"],
        "is_final": version.is_final,
    }
