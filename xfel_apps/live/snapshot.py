"""What a growing run has so far, as a manifest that the merge app takes."""

import fcntl
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.config import digest
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import readable_parts
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.experiment import Experiment
from xfel_apps.latency.times import read_log
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.unseal import has_grown, unseal


@dataclass(frozen=True)
class Parts:
    """What the crews have flushed of one product.

    Attributes
    ----------
    n_shots : part file, relative to the folder of the live run -> shots in it
    events, outcomes : (n,) live number and outcome's code of each shot, part by part
    """

    n_shots: dict[str, int]
    events: NDArray[np.int64]
    outcomes: NDArray[np.uint8]

    @classmethod
    def read(cls, live: LiveRun, product: Product) -> "Parts":
        """Return what can be read now."""
        n_shots: dict[str, int] = {}
        events, outcomes = [np.empty(0, np.int64)], [np.empty(0, np.uint8)]
        for part in readable_parts(live.all_parts(product.name), product):
            if part.n_shots:
                n_shots[part.path.relative_to(live.folder).as_posix()] = part.n_shots
                events.append(part.events)
                outcomes.append(part.file["shots/outcome"][: part.n_shots])
        return cls(n_shots, np.concatenate(events), np.concatenate(outcomes))


def snapshot(live: LiveRun, experiment: Experiment) -> Path:
    """Write the manifest of the reflections that a run's crews have flushed; return where it is.

    Shots are numbered as they came; `n_events` counts those that were searched for spots. The
    crews may write on meanwhile. Shots that were processed before all was known of the run (hot
    pixels, gain) are in it as they are: only what is sealed is final.
    """
    if has_grown(live):
        unseal(live, experiment.of_run(live.run))
    # Reflections first: a shot that has some has its spots by then.
    found = {p.name: Parts.read(live, p) for p in (REFLECTIONS, CRYSTALS, SPOTS)}
    outcomes: dict[int, Outcome] = {}
    for product in (SPOTS, CRYSTALS, REFLECTIONS):
        outcomes.update(_by_event(found[product.name]))
    parts = found[REFLECTIONS.name]
    manifest = Manifest(
        product=REFLECTIONS.name,
        stage=REFLECTIONS.stage,
        version=REFLECTIONS.version,
        run=live.run,
        digest=digest("snapshot", *(f"{name}={n}" for name, n in parts.n_shots.items())),
        settings=experiment.integrate.model_dump(mode="json"),
        inputs={},
        n_events=len(outcomes),
        outcomes=count(outcomes),
        containers=tuple(parts.n_shots),
        extra={"is_snapshot": True},
    )
    integrated = parts.events[parts.outcomes == Outcome.INTEGRATED.code]
    try:
        live.folder.mkdir(parents=True, exist_ok=True)
        with live.snapshots.open("a+") as log:
            fcntl.flock(log, fcntl.LOCK_EX)  # datasets that share a run are merged side by side
            _note(log, manifest.digest, integrated)
            manifest.write(live.reflections)
    except OSError as err:
        raise ContainerError(f"{live.snapshots}: cannot write ({err})") from err
    return live.reflections


def _by_event(parts: Parts) -> Iterable[tuple[int, Outcome]]:
    kinds = [Outcome.from_code(code) for code in range(len(Outcome))]
    return zip(parts.events.tolist(), (kinds[code] for code in parts.outcomes), strict=True)


def _note(log: Any, name: str, integrated: NDArray[np.int64]) -> None:
    """Append which shots a snapshot has that the ones before had not."""
    log.seek(0)
    before, last = set(), ""
    for entry in read_log(log):
        before.update(entry["new"])
        last = entry["digest"]
    if name != last:
        new = sorted(set(integrated.tolist()) - before)
        entry = {"digest": name, "taken_s": time.time(), "new": new}
        log.write(f"\n{json.dumps(entry)}")  # a line that was cut short before is left behind
        log.flush()
