"""Write shots of another program as a run: events, spots, crystals and reflections."""

import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from xfel_apps.config import digest
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import PER_SHOT
from xfel_apps.containers.spots import SPOTS
from xfel_apps.containers.writer import ContainerWriter
from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Detector
from xfel_apps.ingest.settings import IngestSettings
from xfel_apps.ingest.shots import Setups, Shot, changed_s, file_names, shot_id
from xfel_apps.ingest.write import Listing, write_events
from xfel_apps.interchange.shots import (
    PeerShot,
    crystal_rows,
    indexed_rows,
    integrated_rows,
    reflection_rows,
)
from xfel_apps.progress import Progress

FLUSH_ROWS = 200_000
"""Rows that are kept in memory before they are written."""


@dataclass(frozen=True)
class Source:
    """What is read.

    Attributes
    ----------
    files : that the user named
    images : raw files of the shots, each once
    n_shots : how many there are
    geometry : geometry file that goes with the raw files, if they need one
    has : products that the files give, beside events
    """

    files: Sequence[Path]
    images: Sequence[Path]
    n_shots: int
    geometry: Path | None
    has: Sequence[Product]


@dataclass
class Tally:
    """What became of the shots so far.

    Attributes
    ----------
    shots : events, in order
    after : product -> outcome of each event after its stage
    """

    shots: list[Shot] = field(default_factory=list)
    after: dict[str, dict[int, Outcome]] = field(default_factory=dict)


def write_run(out: Path, source: Source, shots: Iterable[PeerShot]) -> list[Manifest]:
    """Write shots, in their order, as the run `out`; return the manifests."""
    run = out.resolve().name
    settings = IngestSettings(geometry=source.geometry)
    setups = Setups(settings)
    key = digest(*(_fingerprint(path) for path in source.files))
    names = dict(zip(source.images, file_names(source.images), strict=True))
    numbers = {path: number for number, path in enumerate(source.images)}
    tally = Tally(after={product.name: {} for product in source.has})
    start_s = time.time()
    with ExitStack() as stack, Progress(f"import {run}", source.n_shots) as progress:
        writers = {
            product.name: stack.enter_context(
                ContainerWriter(out / product.name, 0, product, digest(product.name, key))
            )
            for product in source.has
        }
        n_rows = 0
        for event, shot in enumerate(shots):
            name = shot_id(run, names[shot.file], shot.frame)
            tally.shots.append(
                Shot(
                    name,
                    numbers[shot.file],
                    shot.frame,
                    setups.index(shot.detector, shot.beam, run),
                    shot.beam.wavelength_ang,
                    complete_s=changed_s(shot.file),
                )
            )
            results = _results(shot, name, writers)
            for product, result in results.items():
                writers[product].append(event, result, start_s, 0.0)
                tally.after[product][event] = result.outcome
                n_rows += sum(len(rows) for rows in result.tables.values())
            if n_rows > FLUSH_ROWS:
                n_rows = 0
                for writer in writers.values():
                    writer.flush()
            progress.report(str(_last(results)))
    listing = Listing(run, source.images, setups, digest("events", key), start_s)
    events = write_events(out / "events.json", tally.shots, listing)
    return [events, *_manifests(out, source, tally, events)]


def check_new(out: Path) -> None:
    """Refuse a folder in which a run lies; take away what an import that broke off left."""
    there = [name for name in PER_SHOT if (out / f"{name}.json").exists()]
    if there:
        raise ContainerError(f"{out}: holds a run already ({there[0]}.json); give another --out")
    for name in PER_SHOT:
        if (out / name).is_dir():
            shutil.rmtree(out / name)


def _fingerprint(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}\t{status.st_size}\t{status.st_mtime_ns}"


def _last(results: Mapping[str, ShotResult]) -> Outcome:
    return list(results.values())[-1].outcome if results else Outcome.PENDING


def _results(shot: PeerShot, name: str, wanted: Mapping[str, Any]) -> dict[str, ShotResult]:
    """Return what each stage would have made of the shot, by product."""
    results: dict[str, ShotResult] = {}
    if SPOTS.name in wanted:
        results[SPOTS.name] = _spots(shot)
    if CRYSTALS.name not in wanted or results[SPOTS.name].outcome == Outcome.MISS:
        return results
    indexed = indexed_rows(shot)
    crystals = crystal_rows(shot, indexed)
    columns = {"n_spots": len(shot.spots), "n_lattices": len(crystals)}
    if not len(crystals):
        reason = "no lattice in the imported file"
        results[CRYSTALS.name] = ShotResult(Outcome.HIT_NOT_INDEXED, reason, columns)
        return results
    tables = {"crystals": crystals, "indexed": indexed}
    results[CRYSTALS.name] = ShotResult(Outcome.INDEXED, "", columns, tables)
    if REFLECTIONS.name in wanted and shot.integrated:
        rows = reflection_rows(shot)
        integrated = integrated_rows(crystals, rows, name)
        usable = bool((rows.flags == 0).any())
        results[REFLECTIONS.name] = ShotResult(
            Outcome.INTEGRATED if usable else Outcome.INDEXED,
            "" if usable else "no usable reflection in the imported file",
            {"n_reflections": len(rows), "d_min_ang": float(integrated.d_min_ang.min())},
            {"crystals": integrated, "reflections": rows} if usable else {},
        )
    return results


def _spots(shot: PeerShot) -> ShotResult:
    spots = shot.spots
    outcome = Outcome.HIT_NOT_INDEXED if shot.is_hit else Outcome.MISS
    reason = "" if shot.is_hit else "not a hit in the imported file"
    columns = {"n_spots": len(spots), "d_min_ang": spots.d_ang.min() if len(spots) else 0.0}
    columns["gain_adu"] = median_gain_adu([shot.detector])
    return ShotResult(outcome, reason, columns, {"spots": spots})


def median_gain_adu(detectors: Sequence[Detector]) -> float:
    """Return the median gain of all panels [ADU a photon]."""
    return float(np.median([panel.gain for one in detectors for panel in one.panels]))


def _manifests(out: Path, source: Source, tally: Tally, events: Manifest) -> list[Manifest]:
    """Write the manifests in order of the data flow; return them."""
    inputs = {events.product: events.digest}
    detectors = [Detector.from_json(text) for text in events.extra["detectors"]]
    found = {"hot_pixels": [], "decided": {}, "gain_adu": median_gain_adu(detectors)}
    outcomes = dict.fromkeys(range(len(tally.shots)), Outcome.PENDING)
    written = []
    for product in source.has:
        outcomes.update(tally.after[product.name])
        folder = out / product.name
        manifest = Manifest(
            product=product.name,
            stage=product.stage,
            version=product.version,
            run=events.run,
            digest=digest(product.name, events.digest),
            settings={"imported": [str(path) for path in source.files]},
            inputs=dict(inputs),
            n_events=len(tally.shots),
            outcomes=count(outcomes),
            containers=tuple(f"{folder.name}/{path.name}" for path in folder.glob("rank-*.h5")),
            extra=found if product is SPOTS else {},
        )
        manifest.write(out / f"{product.name}.json")
        inputs[product.name] = manifest.digest
        written.append(manifest)
    return written
