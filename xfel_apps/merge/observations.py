"""The observations of a rank's crystals: read, filtered, reduced to slots of unique reflections."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.sums import Runs
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.rows import Rows, column
from xfel_apps.errors import ContainerError
from xfel_apps.intensities.asu import ABSENT, UniqueReflections
from xfel_apps.merge import modulation
from xfel_apps.merge.blocks import Leaves
from xfel_apps.merge.crystals import Dataset, Verdict
from xfel_apps.merge.postrefine import Turning
from xfel_apps.merge.settings import MergeSettings

F4 = NDArray[np.float32]
I4 = NDArray[np.int32]
I2 = NDArray[np.int16]
U1 = NDArray[np.uint8]
Array = NDArray[np.float64]

READ = [
    "lattice", "h", "k", "l", "fast_px", "slow_px",
    "intensity", "sigma", "partiality", "polarization", "flags",
]  # fmt: skip
BLOCK_ROWS = 200_000
MIN_NOISE = 0.05
"""Share of an observation's variance that is noise at least, whatever its intensity."""


@dataclass(frozen=True)
class Observations(Rows):
    """What crystals measured of reflections, corrected for polarisation, not scaled."""

    slot: I4 = column("i4", "", "slot of the unique reflection")
    crystal: I4 = column("i4", "", "row of the crystal in the dataset")
    intensity: F4 = column("f4", "photon", "intensity over polarisation")
    noise: F4 = column("f4", "photon^2", "variance of the background and detector alone")
    partiality: F4 = column("f4", "", "recorded fraction")
    turn_x: I2 = column("i2", "1e-3/mrad", "see `postrefine.Turning`: of a turn about lab x")
    turn_y: I2 = column("i2", "1e-3/mrad", "the same about lab y")
    place_fast: U1 = column("u1", "1/256 pixel", "where in its pixel it lies, see `modulation`")
    place_slow: U1 = column("u1", "1/256 pixel", "the same in slow")
    modulation: F4 = column("f4", "", "what the pixel records more or less of it there")

    @classmethod
    def of_length(cls, n_rows: int) -> "Observations":
        """Return rows to be filled; what is not filled takes no memory."""
        return cls(**{name: np.empty(n_rows, meta["dtype"]) for name, meta in cls.schema().items()})

    def put(self, start: int, rows: "Observations") -> None:
        """Overwrite rows from `start` on."""
        for name, values in self.columns().items():
            values[start : start + len(rows)] = getattr(rows, name)

    def only(self, keep: NDArray[np.bool_]) -> "Observations":
        """Return the rows to keep (n,), moved together in place: these rows are then spoilt."""
        n_rows = int(keep.sum())
        if n_rows < len(self):
            for values in self.columns().values():
                values[:n_rows] = values[keep]
        return self.take(slice(0, n_rows))


@dataclass(frozen=True)
class Indexer:
    """How Miller indices become slots.

    Attributes
    ----------
    unique : the unique reflections
    operators : ways to index a crystal; the first is the identity
    reference : (n_slots,) intensities that tell the ways apart, NaN where unknown; None: no choice
    """

    unique: UniqueReflections
    operators: list[NDArray[np.int64]]
    reference: Array | None = None


def leaves_of(dataset: Dataset) -> Leaves:
    """Return how the crystals of a dataset are cut, to share them out and to add them up."""
    crystals = dataset.crystals
    shot = crystals["source"].to_numpy() * (crystals["event"].max() + 1) + crystals["event"]
    work = crystals["n_reflections"].to_numpy(dtype=np.int64) + 1
    return Leaves.of(work, shot.to_numpy())


def read_observations(
    dataset: Dataset, share: slice, indexer: Indexer, settings: MergeSettings
) -> tuple[Observations, NDArray[np.int8]]:
    """Return the usable observations of a share of the crystals, and those crystals' modes.

    Rows are in order of crystal; a block of crystals is read at a time, so that the columns that
    are not kept never lie in memory whole.
    """
    most = int(dataset.crystals["n_reflections"].iloc[share].sum())
    whole = Observations.of_length(most)
    n_rows = 0
    mode = np.zeros(share.stop - share.start, dtype=np.int8)
    turning = Turning.read(dataset)
    for crystal, columns in _blocks(dataset, share):
        keep = _usable(columns, settings)
        keep &= dataset.verdict[crystal] == Verdict.USED.code
        columns = {name: values[keep] for name, values in columns.items()}
        crystal = crystal[keep]
        hkl = np.stack([columns["h"], columns["k"], columns["l"]], axis=1)
        slot, chosen = _index(hkl, crystal, columns, indexer)
        mode[np.unique(crystal) - share.start] = chosen
        turn = turning.of(crystal, hkl, columns["partiality"])
        found = _corrected(slot, crystal, columns, turn, settings).take(slot != ABSENT)
        whole.put(n_rows, found)
        n_rows += len(found)
    return whole.take(slice(0, n_rows)), mode


def _blocks(dataset: Dataset, share: slice) -> Iterator[tuple[I4, dict[str, NDArray[Any]]]]:
    """Yield (crystal of each row, columns) of blocks of crystals, in order."""
    crystals = dataset.crystals.iloc[share]
    for source, group in crystals.groupby("source", sort=True):
        _, reader = open_product(dataset.paths[int(str(source))], REFLECTIONS)
        block = np.cumsum(group["n_reflections"].to_numpy(dtype=np.int64)) // BLOCK_ROWS
        events = group["event"].to_numpy()
        block = block[np.searchsorted(events, events)]  # the lattices of a shot stay together
        for number in np.unique(block):
            rows = group[block == number]
            wanted = np.unique(rows["event"].to_numpy(dtype=np.int64))
            counts, columns = reader.columns("reflections", wanted, READ)
            key = _key(np.repeat(wanted, counts), columns["lattice"])
            order = np.argsort(key, kind="stable")
            columns = {name: values[order] for name, values in columns.items()}
            known = _key(rows["event"].to_numpy(dtype=np.int64), rows["lattice"].to_numpy())
            found = np.searchsorted(known, key[order])
            if not np.array_equal(known[np.minimum(found, len(known) - 1)], key[order]):
                raise ContainerError(
                    f"{dataset.paths[int(str(source))]}: reflections of a lattice that its table "
                    "of crystals lacks; run integrate again"
                )
            yield rows.index.to_numpy(dtype=np.int32)[found], columns
        reader.close()


def _key(event: NDArray[np.int64], lattice: NDArray[Any]) -> NDArray[np.int64]:
    return np.asarray(event * 65536 + lattice.astype(np.int64))


def _usable(columns: dict[str, NDArray[Any]], settings: MergeSettings) -> NDArray[np.bool_]:
    """Return which reflections pass the filters that look at one reflection alone."""
    intensity = columns["intensity"].astype(np.float32)
    sigma = columns["sigma"].astype(np.float32)
    keep = (columns["flags"] == 0) & (sigma > 0) & np.isfinite(intensity) & np.isfinite(sigma)
    keep &= columns["polarization"].astype(np.float32) > 0
    if settings.partiality == "model":
        keep &= columns["partiality"].astype(np.float32) >= max(settings.min_partiality, 1e-6)
    if settings.min_i_over_sigma is not None:
        keep &= intensity >= settings.min_i_over_sigma * sigma
    return np.asarray(keep)


def _corrected(
    slot: I4,
    crystal: I4,
    columns: dict[str, NDArray[Any]],
    turn: tuple[I2, I2],
    settings: MergeSettings,
) -> Observations:
    """Return observations with the polarisation divided out.

    The share of the variance that comes from counting the reflection's own photons is taken away:
    a weight that falls with the photons counted would bias the mean low. Merging puts back what
    the mean lets expect.
    """
    left = columns["polarization"].astype(np.float32)
    variance = columns["sigma"].astype(np.float32) ** 2
    own = np.maximum(columns["intensity"].astype(np.float32), 0)
    noise = np.maximum(variance - own, MIN_NOISE * variance)
    partiality = columns["partiality"] if settings.partiality == "model" else np.ones(len(slot))
    return Observations.make(
        slot=slot,
        crystal=crystal,
        intensity=columns["intensity"] / left,
        noise=noise / left**2,
        partiality=partiality,
        turn_x=turn[0],
        turn_y=turn[1],
        place_fast=modulation.place(columns["fast_px"]),
        place_slow=modulation.place(columns["slow_px"]),
        modulation=np.ones(len(slot), dtype=np.float32),
    )


def _index(
    hkl: NDArray[np.integer],
    crystal: I4,
    columns: dict[str, NDArray[Any]],
    indexer: Indexer,
) -> tuple[I4, NDArray[np.int8]]:
    """Return the slot of each row, and the way of indexing chosen for each crystal in the block.

    A crystal is indexed in the way in which it correlates best with the reference; without a
    reference, as it comes.
    """
    local: NDArray[np.int64] = np.cumsum(np.diff(crystal, prepend=crystal[:1]) > 0)
    n_crystals = int(local[-1]) + 1 if len(local) else 0
    slots = [indexer.unique.slots(hkl @ operator) for operator in _modes(indexer)]
    if len(slots) == 1:
        return slots[0], np.zeros(n_crystals, dtype=np.int8)
    assert indexer.reference is not None
    observed = columns["intensity"].astype(float)
    observed = observed / np.maximum(columns["partiality"].astype(float), 0.1)
    scores = []
    for slot in slots:
        expected = np.where(slot == ABSENT, np.nan, indexer.reference[np.maximum(slot, 0)])
        scores.append(correlation_by_group(observed, expected, local, n_crystals))
    best = np.argmax(np.nan_to_num(scores, nan=-2.0), axis=0).astype(np.int8)
    return np.choose(best[local], slots), best


def _modes(indexer: Indexer) -> list[NDArray[np.int64]]:
    return indexer.operators if indexer.reference is not None else indexer.operators[:1]


def correlation_by_group(x: Array, y: Array, group: NDArray[np.integer], n_groups: int) -> Array:
    """Return Pearson's correlation of x and y (n,) in each group (n_groups,); NaN where undefined.

    Pairs with a NaN do not count; `group` ascends.
    """
    known = np.isfinite(x) & np.isfinite(y)
    x, y, group = x[known], y[known], group[known]
    total = Runs(group, n_groups).total
    count = np.maximum(np.bincount(group, minlength=n_groups), 1)
    dx, dy = x - (total(x) / count)[group], y - (total(y) / count)[group]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total(dx * dy) / np.sqrt(total(dx * dx) * total(dy * dy)))
