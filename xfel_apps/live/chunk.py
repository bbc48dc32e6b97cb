"""A chunk: some shots of a run that a crew takes at a time, and what it must know of the run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xfel_apps.config import digest
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.product import Product
from xfel_apps.containers.spots import SPOTS
from xfel_apps.experiment import Experiment
from xfel_apps.live.layout import LiveRun
from xfel_apps.live.tally import Tally

Pixel = tuple[int, int, int]


@dataclass(frozen=True)
class Facts:
    """What is decided over a whole run, as far as it is known when a chunk is cut.

    Attributes
    ----------
    hot_pixels : (panel, slow, fast) of pixels whose spots do not count
    gain_adu : median gain of the run's shots [ADU a photon]; None before any shot was searched
    """

    hot_pixels: tuple[Pixel, ...] = ()
    gain_adu: float | None = None

    @classmethod
    def of_manifest(cls, extra: dict[str, Any]) -> "Facts":
        """Return the facts that the manifest of a run's spots tells."""
        pixels = tuple((int(p), int(s), int(f)) for p, s, f in extra.get("hot_pixels", []))
        return cls(pixels, extra.get("gain_adu"))


def live_digest(product: Product, experiment: Experiment, facts: Facts) -> str:
    """Return the digest of all but the raw file that determines a shot's rows of a product.

    Spots do not depend on what is decided over the run; crystals depend on the hot pixels, and
    reflections on the hot pixels and the gain.
    """
    sections = [experiment.ingest, experiment.spotfind]
    known: list[object] = []
    if product is not SPOTS:
        sections.append(experiment.index)
        known.append(facts.hot_pixels)
    if product not in (SPOTS, CRYSTALS):
        sections.append(experiment.integrate)
        known.append(facts.gain_adu or 1.0)  # as integrate takes it
    parts = [section.canonical() for section in sections]
    return digest("live", product.name, str(product.version), *parts, repr(known))


@dataclass(frozen=True)
class Chunk:
    """A chunk of work, as it lies in the queue.

    Attributes
    ----------
    trial : folder of the trial, absolute
    run : name of the run
    first : number of its first shot; shots of a live run are numbered as they arrive
    n_shots : how many shots its `events.json` has; they are numbered from 0 there
    facts : of the run, as known when it was put into the queue
    skip : live numbers of the shots that are processed and durable already
    in_powder : live numbers of shots that are in a durable powder sum already, although they are
        to be done again
    skipped : how the shots in `skip` ended
    n_lost : crews that were lost with it and had done none of its shots
    """

    trial: str
    run: str
    first: int
    n_shots: int
    facts: Facts = Facts()
    skip: tuple[int, ...] = ()
    in_powder: tuple[int, ...] = ()
    skipped: Tally = field(default_factory=Tally)
    n_lost: int = 0

    @property
    def live_run(self) -> LiveRun:
        """Where the run's files lie."""
        return LiveRun(Path(self.trial), self.run)

    @property
    def folder(self) -> Path:
        """Folder of the chunk."""
        return self.live_run.chunk(self.first)

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` reads back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Chunk":
        """Return the chunk that `as_json` described."""
        facts = Facts.of_manifest(data["facts"])
        lists: dict[str, Sequence[int]] = {name: data[name] for name in ("skip", "in_powder")}
        skipped = Tally.from_json(data.get("skipped", {}))
        numbers = {name: tuple(values) for name, values in lists.items()}
        return cls(**{**data, **numbers, "facts": facts, "skipped": skipped})
