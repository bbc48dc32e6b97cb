"""Timing rows of runs, of finished products and of what apps are writing just now."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import Part, readable_parts
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import LIVE, RunResults
from xfel_apps.containers.spots import SPOTS

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

PRODUCTS = (SPOTS, CRYSTALS, REFLECTIONS)
STAGES = tuple(product.stage for product in PRODUCTS)
"""Stages that work shot by shot, in order of the data flow."""

COLUMNS = ("event", "outcome", "start_s", "end_s", "cpu_s", "rank")


@dataclass(frozen=True)
class Timings:
    """Who did which shot when: one entry a shot and stage.

    Attributes
    ----------
    run, row, stage : (n,) number of the run in `runs`, of who did it in `rows`, of the stage in
        `STAGES`
    event, outcome : (n,) number of the shot; code of what the stage made of it (live shots have
        live numbers until their run is sealed)
    start_s, end_s : (n,) by the wall clock [seconds since 1970]
    cpu_s : (n,) processor time [s]
    runs : names
    rows : names of the ranks; those of live crews as crew/rank
    """

    run: IntArray
    row: IntArray
    stage: IntArray
    event: IntArray
    outcome: IntArray
    start_s: Array
    end_s: Array
    cpu_s: Array
    runs: tuple[str, ...]
    rows: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.event)

    @property
    def off_cpu_s(self) -> Array:
        """Time (n,) of each shot that was not spent on the processor [s]: reading and waiting."""
        return np.maximum(self.end_s - self.start_s - self.cpu_s, 0.0)


def timings(runs: Sequence[RunResults]) -> Timings:
    """Return the timing rows of runs, in the order of the runs and of the data flow.

    A product that is made is read as its manifest has it, one that is not as far as it is flushed.
    """
    found = [(number, *item) for number, run in enumerate(runs) for item in _parts(run)]
    columns = {name: _join([values[name] for *_, values in found]) for name in COLUMNS}
    lengths = [len(values["event"]) for *_, values in found]
    names, row = _rows([crew for _, _, crew, _ in found], lengths, columns["rank"])
    return Timings(
        run=np.repeat(np.array([run for run, *_ in found], np.int64), lengths),
        row=row,
        stage=np.repeat(np.array([stage for _, stage, _, _ in found], np.int64), lengths),
        event=columns["event"].astype(np.int64),
        outcome=columns["outcome"].astype(np.int64),
        start_s=columns["start_s"].astype(np.float64),
        end_s=columns["end_s"].astype(np.float64),
        cpu_s=columns["cpu_s"].astype(np.float64),
        runs=tuple(run.name for run in runs),
        rows=names,
    )


def _parts(run: RunResults) -> Iterator[tuple[int, str, dict[str, NDArray[Any]]]]:
    """Yield (stage, crew, columns) of each container of a run."""
    for stage, product in enumerate(PRODUCTS):
        if run.has(product):
            yield stage, "", run.reader(product).shot_columns(COLUMNS)
        else:
            for part in _unfinished(run.folder / product.name, product):
                yield stage, "", _columns(part)
        for path in sorted((run.folder / LIVE).glob(f"*/{product.name}/rank-*.h5")):
            for part in readable_parts([path], product):
                yield stage, path.parents[1].name, _columns(part)


def _unfinished(folder: Path, product: Product) -> Iterator[Part]:
    """Yield the parts of a product without a manifest that belong with the one written last."""
    paths = sorted(folder.glob("rank-*.h5"), key=lambda path: path.stat().st_mtime)
    last = None
    for path in reversed(paths):
        for part in readable_parts([path], product, last):
            last = part.digest
            yield part


def _columns(part: Part) -> dict[str, NDArray[Any]]:
    return {name: part.file[f"shots/{name}"][: part.n_shots] for name in COLUMNS}


def _join(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0)


def _rows(
    crews: Sequence[str], lengths: Sequence[int], rank: NDArray[Any]
) -> tuple[tuple[str, ...], IntArray]:
    """Return the names of all ranks of all crews, in order, and which one did each shot."""
    known = sorted(set(crews))
    crew = np.repeat(np.array([known.index(name) for name in crews], np.int64), lengths)
    width = int(rank.max(initial=0)) + 1
    keys, row = np.unique(crew * width + rank.astype(np.int64), return_inverse=True)
    names = [(known[key // width], str(key % width)) for key in keys.tolist()]
    return tuple("/".join(filter(None, name)) for name in names), row.astype(np.int64)
