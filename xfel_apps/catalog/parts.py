"""What lies in a run's containers that the catalog does not have yet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.catalog.bulk import Row
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import Part, readable_parts
from xfel_apps.containers.results import LIVE, PER_SHOT
from xfel_apps.errors import ContainerError

ROWS = 20_000
"""Rows that are read, and inserted, at a time."""
COUNTS = tuple(f"n_{outcome}" for outcome in Outcome)
"""Columns that count events, in the order of the outcomes' codes."""
SUMS = tuple(
    f"sum_{name}"
    for name in ("a_ang", "b_ang", "c_ang", "alpha_deg", "beta_deg", "gamma_deg", "d_min_ang")
)
SUMMED = (*COUNTS, "n_lattices", *SUMS)
"""Columns of a part that add up something over its rows."""
SHOT_COLUMNS = ("event", "outcome", "reason", "start_s", "end_s", "cpu_s", "rank")
CHUNKS = "chunks"
"""Folder of the chunks of a live run; a chunk's is named by its first event."""
LATTICE_COLUMNS = (
    "lattice", "space_group", "cell", "a_matrix", "d_min_ang", "n_indexed", "rmsd_px",
)  # fmt: skip

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class StageKey:
    """A stage of a run in a trial, as the catalog numbers them."""

    trial_id: int
    run_id: int
    stage: str


@dataclass(frozen=True)
class NewRows:
    """Rows of a container that follow those that the catalog has.

    Attributes
    ----------
    key : the stage of the run
    name : of the file, below the run's folder
    made_with : tells it from a file of the same name that was there before
    first, last : rows that the catalog has, and will have once these are inserted
    host : where they were made
    shots : columns of the events
    lattices : columns of the lattices that were found, with `at`: their shots' places in `shots`
    """

    key: StageKey
    name: str
    made_with: str
    first: int
    last: int
    host: str
    shots: Columns
    lattices: Columns

    @property
    def place(self) -> tuple[StageKey, str]:
        """Stage and name of the part."""
        return self.key, self.name

    def __len__(self) -> int:
        return len(self.shots["event"])

    def without(self, known: NDArray[np.int64]) -> "NewRows":
        """Return the events that are not known, each once.

        Parameters
        ----------
        known : events that another container has brought
        """
        keep = np.zeros(len(self), dtype=bool)
        keep[np.unique(self.shots["event"], return_index=True)[1]] = True
        keep &= ~np.isin(self.shots["event"], known)
        place = np.cumsum(keep) - 1
        own = keep[self.lattices["at"]]
        lattices = {name: values[own] for name, values in self.lattices.items()}
        lattices["at"] = place[lattices["at"]]
        shots = {name: values[keep] for name, values in self.shots.items()}
        return replace(self, shots=shots, lattices=lattices)

    @cached_property
    def sums(self) -> dict[str, float]:
        """What the rows add to the sums of their part."""
        counts = np.bincount(self.shots["outcome"], minlength=len(COUNTS)).tolist()
        cells = np.column_stack([_finite(self.lattices[name]) for name in ("cell", "d_min_ang")])
        return {
            **dict(zip(COUNTS, counts, strict=True)),
            "n_lattices": len(cells),
            **dict(zip(SUMS, cells.sum(axis=0).tolist(), strict=True)),
        }

    def event_rows(self) -> Iterator[Row]:
        """Yield rows of the table of events."""
        shots, key, n = self.shots, self.key, len(self)
        texts = {code: _text(code) for code in set(shots["reason"].tolist())}
        return zip(
            [key.trial_id] * n,
            [key.run_id] * n,
            [key.stage] * n,
            shots["event"].tolist(),
            shots["outcome"].tolist(),
            [texts[code] for code in shots["reason"].tolist()],
            *(_finite(shots[name]).tolist() for name in ("start_s", "end_s", "cpu_s")),
            [self.host] * n,
            shots["rank"].tolist(),
            strict=True,
        )

    def crystal_rows(self) -> Iterator[Row]:
        """Yield rows of the table of crystals."""
        found, key, n = self.lattices, self.key, len(self.lattices["at"])
        numbers = [
            *_finite(found["cell"]).T,
            *_finite(found["a_matrix"]).reshape(n, 9).T,
            _finite(found["d_min_ang"]),
            found["n_indexed"],
            _finite(found["rmsd_px"]),
        ]
        return zip(
            [key.trial_id] * n,
            [key.run_id] * n,
            self.shots["event"][found["at"]].tolist(),
            found["lattice"].tolist(),
            map(_text, found["space_group"].tolist()),
            *(values.tolist() for values in numbers),
            strict=True,
        )


def _text(code: bytes) -> str:
    """Return a text that every database takes."""
    return code.decode(errors="replace").replace("\0", "")


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return numbers that every database takes."""
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def containers(folder: Path, product: Product) -> list[Path]:
    """Return the containers of a run's product: those of its manifest, or those that grow.

    Those of live processing count until the batch's are made from them.
    """
    manifest = manifest_of(folder, product)
    if manifest is not None:
        return [folder / name for name in manifest.containers]
    live = sorted(folder.glob(f"{LIVE}/*/{product.name}/rank-*.h5"))
    live += sorted(folder.glob(f"{LIVE}/*/*/{product.name}/rank-*.h5"))
    return live or sorted((folder / product.name).glob("rank-*.h5"))


def manifest_of(folder: Path, product: Product) -> Manifest | None:
    """Return the manifest of a run's product; None where there is none to be read."""
    path = folder / f"{product.name}.json"
    try:
        return Manifest.read(path, product) if path.is_file() else None
    except ContainerError:
        return None


def new_rows(
    folder: Path, path: Path, key: StageKey, known: Mapping[str, tuple[str, int]]
) -> Iterator[NewRows]:
    """Yield what a container has that is not known, some rows at a time.

    Nothing comes from a file that is only just being made or was cut short.

    Parameters
    ----------
    folder : of the run
    path : of the container
    key : of its stage
    known : name of a part -> what it was made with, and how many rows of it are in the catalog
    """
    product = next(item for item in PER_SHOT.values() if item.stage == key.stage)
    name = path.relative_to(folder).as_posix()
    for part in readable_parts([path], product):
        if not part.n_shots:
            continue
        made_with = f"{part.digest} {float(part.file['shots/start_s'][0])!r}"
        before, n_known = known.get(name, (made_with, 0))
        start = n_known if before == made_with else 0
        host = str(part.file.attrs.get("host", ""))
        for first in range(start, part.n_shots, ROWS):
            where = slice(first, min(first + ROWS, part.n_shots))
            shots = _read(part, "shots", SHOT_COLUMNS, where)
            shots["event"] = shots["event"] + _first_event(path)
            yield NewRows(
                key, name, made_with, first, where.stop, host, shots, _lattices(part, where)
            )


def _first_event(path: Path) -> int:
    """Return the number of a container's event 0: live processing numbers those of chunks anew."""
    chunk = path.parents[1]
    return int(chunk.name) if chunk.parent.name == CHUNKS else 0


def _lattices(part: Part, shots: slice) -> Columns:
    """Return the lattices of some shots of a part; none where the product is another one."""
    if part.product.name != CRYSTALS.name:
        rows = CRYSTALS.tables["crystals"].empty().columns()
        none = {name: rows[name] for name in LATTICE_COLUMNS}
        return {**none, "at": np.empty(0, dtype=np.int64)}
    ends = part.ends["crystals"]
    begin = int(ends[shots.start - 1]) if shots.start else 0
    counts = np.diff(ends[shots], prepend=begin)
    found = _read(part, "crystals", LATTICE_COLUMNS, slice(begin, int(ends[shots.stop - 1])))
    return {**found, "at": np.repeat(np.arange(len(counts)), counts)}


def _read(part: Part, table: str, names: Sequence[str], where: slice) -> dict[str, NDArray[Any]]:
    group = part.file[table]
    return {name: group[name][where] for name in names}
