"""The lattices of runs as arrays, as integrated where that is done, else as indexed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import readable_parts
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import LIVE, RunResults

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

COLUMNS = ("a_matrix", "cell", "space_group", "d_min_ang", "mosaicity_deg", "n_indexed")


@dataclass(frozen=True)
class Lattices:
    """One entry a lattice, in order of run and event.

    Attributes
    ----------
    run, event : (n,) number of the run in `runs` and of the shot
    a_matrix : (n, 3, 3) columns a*, b*, c* [1/Angstrom], lab frame
    cell : (n, 6) [Angstrom, degree]
    space_group : (n,) symbol, as bytes
    d_min_ang, mosaicity_deg : (n,) resolution and mosaic spread
    n_indexed : (n,) spots on the lattice
    runs : names
    beam : (3,) direction of the beam
    """

    run: IntArray
    event: IntArray
    a_matrix: Array
    cell: Array
    space_group: NDArray[np.bytes_]
    d_min_ang: Array
    mosaicity_deg: Array
    n_indexed: IntArray
    runs: tuple[str, ...]
    beam: Array

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: NDArray[Any]) -> "Lattices":
        """Return the chosen lattices."""
        whole = ("runs", "beam")
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return Lattices(**{k: v if k in whole else v[rows] for k, v in values.items()})

    @property
    def commonest(self) -> str:
        """Space group that most lattices have; empty without lattices."""
        groups, counts = np.unique(self.space_group, return_counts=True)
        return str(groups[counts.argmax()].decode()) if len(groups) else ""

    def with_group(self, space_group: str) -> "Lattices":
        """Return the lattices with a space group."""
        return self.take(self.space_group == space_group.encode())

    @property
    def per_shot(self) -> IntArray:
        """How many lattices each shot with any has."""
        width = int(self.event.max(initial=0)) + 1
        _, counts = np.unique(self.run * width + self.event, return_counts=True)
        return np.asarray(counts, dtype=np.int64)


def lattices(runs: Sequence[RunResults]) -> Lattices:
    """Return the lattices of runs; of products that are not made yet what is flushed."""
    empty: dict[str, Any] = {
        "event": np.empty(0, np.int64),
        "a_matrix": np.empty((0, 3, 3)),
        "cell": np.empty((0, 6)),
        "space_group": np.empty(0, "S16"),
    }
    found = [(number, item) for number, run in enumerate(runs) for item in _of_run(run)]
    columns = {
        name: np.concatenate([empty.get(name, np.empty(0)), *(item[name] for _, item in found)])
        for name in ("event", *COLUMNS)
    }
    number = np.repeat([n for n, _ in found], [len(item["event"]) for _, item in found])
    run = number.astype(np.int64)
    order = np.lexsort((columns["event"], run))
    columns["n_indexed"] = columns["n_indexed"].astype(np.int64)
    return Lattices(
        **{name: values[order] for name, values in columns.items()},
        run=run[order],
        runs=tuple(item.name for item in runs),
        beam=_beam(runs),
    )


def _beam(runs: Sequence[RunResults]) -> Array:
    """Return the direction of the beam; the laboratory's where no run tells it yet."""
    for run in runs:
        manifest = run.manifests.get("events")
        for beam in manifest.extra.get("beams", ()) if manifest else ():
            return np.array(beam["direction"], dtype=float)
    return np.array([0.0, 0.0, -1.0])


def _of_run(run: RunResults) -> list[dict[str, NDArray[Any]]]:
    """Return the columns of the lattices of a run, with `event`."""
    for product in (REFLECTIONS, CRYSTALS):
        if run.has(product):
            reader = run.reader(product)
            counts, columns = reader.columns("crystals", reader.events, COLUMNS)
            return [{**columns, "event": np.repeat(reader.events, counts)}]
        if growing := list(_growing(run, product)):
            return growing
    return []


def _growing(run: RunResults, product: Product) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the columns of each container of a product that is being written."""
    paths = [*run.folder.glob(f"{product.name}/rank-*.h5")]
    paths += run.folder.glob(f"{LIVE}/*/{product.name}/rank-*.h5")
    for part in readable_parts(sorted(paths), product):
        ends = part.ends["crystals"]
        n_rows = int(ends[-1]) if part.n_shots else 0
        if n_rows:
            group = part.file["crystals"]
            columns = {name: group[name][:n_rows] for name in COLUMNS}
            yield {**columns, "event": np.repeat(part.events, np.diff(ends, prepend=0))}
