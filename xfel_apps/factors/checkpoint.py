"""What was found so far, kept beside the manifest until that is written.

Each rank writes a part with its lattices; then rank 0 writes what all agree on, which names the
iteration of the parts that belong to it. So a kill at any time leaves one whole checkpoint, any
number of ranks can go on from it, and what comes out is the same to the last bit.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.errors import ContainerError
from xfel_apps.factors.refine import Member, MemberState, Model
from xfel_apps.factors.scales import Factor
from xfel_apps.factors.spots import SpotState

Array = NDArray[np.float64]
UNREADABLE = (OSError, ValueError, KeyError, EOFError)


@dataclass(frozen=True)
class Checkpoint:
    """Where a refinement is.

    Attributes
    ----------
    model : what all ranks agree on
    n_parts : how many ranks wrote one
    iterations : what was said of each iteration
    """

    model: Model
    n_parts: int
    iterations: Array

    @classmethod
    def read(cls, manifest: Path, digest: str) -> "Checkpoint | None":
        """Return what an earlier run of the same work left; None if nothing that can be used."""
        try:
            with np.load(path_of(manifest), allow_pickle=False) as file:
                if str(file["digest"]) != digest:
                    return None
                model = Model(
                    file["relative"],
                    file["weight"],
                    file["level"],
                    file["errors"],
                    int(file["iteration"]),
                    float(file["misfit"]),
                    float(file["change"]),
                    int(file["n_lattices"]),
                )
                return cls(model, int(file["n_parts"]), file["iterations"])
        except UNREADABLE:
            return None

    def write(self, manifest: Path, digest: str) -> None:
        """Write the checkpoint whole or not at all, and remove the parts of earlier ones."""
        model = self.model
        columns = {
            "relative": model.relative,
            "weight": model.weight,
            "level": model.level,
            "errors": model.errors,
            "iteration": model.iteration,
            "misfit": model.misfit,
            "change": model.change,
            "n_lattices": model.n_lattices,
            "n_parts": self.n_parts,
            "iterations": self.iterations,
            "digest": digest,
        }
        _write(path_of(manifest), columns)
        own = {_part_of(manifest, model.iteration, rank) for rank in range(self.n_parts)}
        for path in set(_parts(manifest)) - own:
            path.unlink(missing_ok=True)

    def members(self, manifest: Path, numbers: Sequence[int]) -> dict[int, MemberState] | None:
        """Return where lattices are, by number; None if a part cannot be read."""
        wanted = set(numbers)
        found: dict[int, MemberState] = {}
        try:
            for rank in range(self.n_parts):
                with np.load(_part_of(manifest, self.model.iteration, rank)) as file:
                    found |= _states({name: file[name] for name in file.files}, wanted)
        except UNREADABLE:
            return None
        return found if wanted <= set(found) else None


def path_of(manifest: Path) -> Path:
    """Return where the checkpoint of a manifest lies."""
    return manifest.with_name(f".{manifest.stem}.checkpoint.npz")


def _part_of(manifest: Path, iteration: int, rank: int) -> Path:
    return manifest.with_name(f".{manifest.stem}.checkpoint-{iteration}-{rank}.npz")


def _parts(manifest: Path) -> list[Path]:
    return list(manifest.parent.glob(f".{manifest.stem}.checkpoint-*.npz*"))


def keep(
    comm: mpi.Comm, manifest: Path, digest: str, model: Model, found: tuple[list[Member], Array]
) -> None:
    """Write a checkpoint, all ranks together; `found`: lattices of this rank, the iterations."""
    members, iterations = found
    counts = [len(member.lattice) for member in members]
    spots = [member.spots.state for member in members]
    columns = {
        "number": np.array([member.lattice.number for member in members], dtype=np.int64),
        "factor": np.array([(m.factor.ln_scale, m.factor.b_ang2) for m in members]).reshape(-1, 2),
        "reason": np.array([member.reason or "" for member in members], dtype=np.str_),
        "count": np.array(counts, dtype=np.int64),
        "at": np.concatenate([np.empty((0, 4)), *(state.at for state in spots)]),
        "best": np.concatenate([np.empty((0, 4)), *(state.best for state in spots)]),
        "damping": np.concatenate([np.empty(0), *(state.damping for state in spots)]),
    }
    _write(_part_of(manifest, model.iteration, comm.rank), columns)
    comm.Barrier()
    if comm.rank == 0:
        Checkpoint(model, comm.size, iterations).write(manifest, digest)


def remove(manifest: Path) -> None:
    """Remove everything that was kept."""
    for path in [path_of(manifest), *_parts(manifest)]:
        path.unlink(missing_ok=True)


def resume(
    comm: mpi.Comm, manifest: Path, digest: str, numbers: Sequence[int]
) -> tuple[Checkpoint, dict[int, MemberState]] | None:
    """Return where an earlier run of the same work was, with this rank's lattices.

    None if any rank cannot read its part.
    """
    kept: Checkpoint | None = mpi.agree(comm, lambda: Checkpoint.read(manifest, digest))
    if kept is None:
        return None
    mine = kept.members(manifest, numbers)
    everywhere = all(comm.allgather(mine is not None))
    return (kept, mine) if everywhere and mine is not None else None


def _states(file: dict[str, NDArray[Any]], wanted: set[int]) -> dict[int, MemberState]:
    """Return the lattices of a part that are wanted."""
    end = np.cumsum(file["count"])
    result = {}
    for row, number in enumerate(file["number"].tolist()):
        if number not in wanted:
            continue
        boxes = slice(end[row] - file["count"][row], end[row])
        result[number] = MemberState(
            Factor(*file["factor"][row].tolist()),
            str(file["reason"][row]) or None,
            SpotState(file["at"][boxes], file["best"][boxes], file["damping"][boxes]),
        )
    return result


def _write(path: Path, columns: dict[str, Any]) -> None:
    """Write an npz file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **columns)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err
