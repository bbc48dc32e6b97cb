"""Powder patterns: sums and maxima of hits and misses, exact whatever the ranks and after a kill.

Each rank keeps its sums with the list of the events in them, and writes both whole or not at all
before its rows are flushed: an event whose rows are durable is in exactly one powder file, and one
found there is not added again. Numbers are whole (see `xfel_apps.compute.powder`), so the total
does not depend on how the events were shared out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.powder import NEVER, PARTS
from xfel_apps.errors import ContainerError

Shape = tuple[int, int]
PREFIX = "powder-rank-"
FORMAT = "xfelflow-powder-1"
IMAGES = ("all_sum", "all_max", "hits_sum", "hits_max")


@dataclass
class PowderSum:
    """Sum and maximum of frames of one shape.

    Attributes
    ----------
    total, highest : (slow, fast) [1/16 ADU]
    events : which shots are in it
    """

    total: NDArray[np.int64]
    highest: NDArray[np.int32]
    events: list[int] = field(default_factory=list)

    @classmethod
    def empty(cls, shape: Shape) -> "PowderSum":
        """Return the sum of no frames."""
        return cls(np.zeros(shape, np.int64), np.full(shape, NEVER, np.int32))

    def include(self, other: "PowderSum") -> None:
        """Add the frames of another sum."""
        self.total += other.total
        np.maximum(self.highest, other.highest, out=self.highest)
        self.events += other.events


Key = tuple[bool, Shape]
"""Hits or misses, and the shape of the frames."""


def write_part(path: Path, sums: Mapping[Key, PowderSum], digest: str) -> None:
    """Write one rank's sums whole or not at all."""
    part = _unfinished(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(part, "w") as file:
            file.attrs.update({"format": FORMAT, "digest": digest})
            for number, ((is_hit, _), powder) in enumerate(sums.items()):
                group = file.create_group(f"{number}")
                group.attrs["is_hit"] = is_hit
                group["events"] = np.array(powder.events, dtype=np.int64)
                _pixels(group, "total", powder.total)
                _pixels(group, "highest", powder.highest)
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _pixels(group: h5py.Group, name: str, values: NDArray[np.generic]) -> h5py.Dataset:
    return group.create_dataset(name, data=values, **hdf5plugin.Bitshuffle(cname="lz4"))


def parts(folder: Path, digest: str) -> list[Path]:
    """Return the powder files of the product with this digest."""
    return [path for path in sorted(folder.glob(f"{PREFIX}*.h5")) if _digest(path) == digest]


def _digest(path: Path) -> str | None:
    try:
        with h5py.File(path) as file:
            return str(file.attrs["digest"]) if file.attrs.get("format") == FORMAT else None
    except OSError:
        return None


def remove_others(folder: Path, digest: str) -> None:
    """Remove powder files of other settings or inputs, and what killed writers left."""
    keep = set(parts(folder, digest))
    for path in [*folder.glob(f"{PREFIX}*.h5"), *folder.glob(f".{PREFIX}*.part")]:
        if path not in keep:
            path.unlink()


def events_in(folder: Path, digest: str) -> set[int]:
    """Return the events that are in a powder file already."""
    found: set[int] = set()
    for path in parts(folder, digest):
        with h5py.File(path) as file:
            for group in file.values():
                found.update(map(int, group["events"]))
    return found


def read_part(path: Path) -> Iterator[tuple[Key, PowderSum]]:
    """Yield the sums of one powder file."""
    with h5py.File(path) as file:
        for group in file.values():
            total, highest = group["total"][()], group["highest"][()]
            key = bool(group.attrs["is_hit"]), (int(total.shape[0]), int(total.shape[1]))
            yield key, PowderSum(total, highest, [int(event) for event in group["events"]])


def events_by_key(path: Path) -> dict[Key, list[int]]:
    """Return the events in each sum of one powder file; the pixels are not read."""
    with h5py.File(path) as file:
        return {
            (bool(group.attrs["is_hit"]), tuple(group["total"].shape)): [
                int(event) for event in group["events"]
            ]
            for group in file.values()
        }


def copy_part(source: Path, target: Path, events: Mapping[Key, list[int]], digest: str) -> None:
    """Write some sums of one powder file to another, with the numbers of their events replaced."""
    sums = {}
    for key, powder in read_part(source):
        if key in events:
            sums[key] = replace(powder, events=events[key])
    write_part(target, sums, digest)


@dataclass(frozen=True)
class Powder:
    """Powder patterns of a run, (slow, fast) [ADU]; a pixel that was never good is 0.

    Attributes
    ----------
    all_sum, all_max : of all shots that were searched for spots
    hits_sum, hits_max : of the hits, as they were told before hot pixels were known
    n_all, n_hits : shots in them
    """

    all_sum: NDArray[np.float64]
    all_max: NDArray[np.float32]
    hits_sum: NDArray[np.float64]
    hits_max: NDArray[np.float32]
    n_all: int
    n_hits: int


def gather(folder: Path, digest: str) -> Powder | None:
    """Return the powder of all ranks; of the commonest shape of frames where there are several."""
    sums: dict[Key, PowderSum] = {}
    for path in parts(folder, digest):
        for key, powder in read_part(path):
            sums.setdefault(key, PowderSum.empty(key[1])).include(powder)
    if not sums:
        return None
    counts: dict[Shape, int] = {}
    for (_, shape), powder in sums.items():
        counts[shape] = counts.get(shape, 0) + len(powder.events)
    shape = max(counts, key=lambda item: (counts[item], item))
    hits = sums.get((True, shape), PowderSum.empty(shape))
    both = sums.get((False, shape), PowderSum.empty(shape))
    both.include(hits)
    all_sum, all_max = _in_adu(both)
    hits_sum, hits_max = _in_adu(hits)
    n_all, n_hits = len(both.events), len(hits.events)
    return Powder(all_sum, all_max, hits_sum, hits_max, n_all, n_hits)


def _in_adu(powder: PowderSum) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    highest = np.where(powder.highest == NEVER, 0, powder.highest)
    return powder.total / PARTS, (highest / PARTS).astype(np.float32)


def write_powder(path: Path, powder: Powder) -> None:
    """Write the powder of a run whole or not at all: all_sum, all_max, hits_sum, hits_max [ADU]."""
    part = _unfinished(path)
    try:
        with h5py.File(part, "w") as file:
            file.attrs.update({"n_all": powder.n_all, "n_hits": powder.n_hits})
            for name in IMAGES:
                _pixels(file, name, getattr(powder, name)).attrs["units"] = "ADU"
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


def read_powder(path: Path) -> Powder:
    """Return the powder of a run that `write_powder` wrote."""
    try:
        with h5py.File(path) as file:
            images = {name: file[name][()] for name in IMAGES}
            return Powder(
                **images, n_all=int(file.attrs["n_all"]), n_hits=int(file.attrs["n_hits"])
            )
    except (OSError, KeyError) as err:
        raise ContainerError(f"{path}: not a powder file ({err})") from err
