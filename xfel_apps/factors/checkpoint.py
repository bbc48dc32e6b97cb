"""What was found so far, kept beside the manifest until that is written."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps import mpi
from xfel_apps.errors import ContainerError
from xfel_apps.factors.refine import Member, Model
from xfel_apps.factors.scales import Factor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Checkpoint:
    """Where a refinement is.

    Attributes
    ----------
    model : what all ranks agree on
    factors : of the lattices, by number
    iterations : what was said of each iteration
    """

    model: Model
    factors: dict[int, Factor]
    iterations: Array

    @staticmethod
    def path_of(manifest: Path) -> Path:
        """Return where the checkpoint of a manifest lies."""
        return manifest.with_name(f".{manifest.stem}.checkpoint.npz")

    @classmethod
    def read(cls, manifest: Path, digest: str) -> "Checkpoint | None":
        """Return what an earlier run of the same work left; None if nothing that can be used."""
        path = cls.path_of(manifest)
        try:
            with np.load(path, allow_pickle=False) as file:
                if str(file["digest"]) != digest:
                    return None
                model = Model(
                    file["relative"],
                    file["weight"],
                    file["level"],
                    file["errors"],
                    int(file["iteration"]),
                )
                numbers, values = file["numbers"], file["factors"]
                factors = {
                    int(number): Factor(float(a), float(b))
                    for number, (a, b) in zip(numbers, values, strict=True)
                }
                return cls(model, factors, file["iterations"])
        except (OSError, ValueError, KeyError, EOFError):
            return None

    def write(self, manifest: Path, digest: str) -> None:
        """Write the checkpoint whole or not at all."""
        path = self.path_of(manifest)
        part = path.with_name(f"{path.name}.part")
        model = self.model
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.savez(
                    file,
                    digest=digest,
                    relative=model.relative,
                    weight=model.weight,
                    level=model.level,
                    errors=model.errors,
                    iteration=model.iteration,
                    numbers=np.array(list(self.factors), dtype=np.int64),
                    factors=np.array(
                        [(f.ln_scale, f.b_ang2) for f in self.factors.values()]
                    ).reshape(-1, 2),
                    iterations=self.iterations,
                )
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as err:
            raise ContainerError(f"{path}: cannot write ({err})") from err


def gathered(comm: mpi.Comm, members: list[Member]) -> dict[int, Factor]:
    """Return the factors of all ranks' lattices by number, on rank 0; nothing on others."""
    parts = comm.gather([(m.lattice.number, m.factor) for m in members])
    return dict(sorted(pair for part in parts or [] for pair in part))
