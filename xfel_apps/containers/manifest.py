"""The manifest of a product: the file target, written last and atomically.

It accounts for every event of the run: counts by outcome add up to the number of events.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from xfel_apps import __version__
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.errors import ContainerError

T = TypeVar("T")


@dataclass(frozen=True)
class Manifest:
    """Content of `{product}.json`.

    Attributes
    ----------
    product, stage, version : which product, who wrote it, schema version
    run : name of the run
    digest : of the settings, the inputs' digests and the schema version
    settings : the stage's section as it was used
    inputs : product name -> digest of the manifests it was made from
    n_events : events of the run
    outcomes : outcome -> number of events, with every outcome present
    containers : part files, relative to the manifest
    extra : what the stage says about the run as a whole
    code_version : version of this package
    """

    product: str
    stage: str
    version: int
    run: str
    digest: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    n_events: int
    outcomes: Mapping[str, int]
    containers: tuple[str, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)
    code_version: str = __version__

    def __post_init__(self) -> None:
        if sum(self.outcomes.values()) != self.n_events:
            raise ContainerError(
                f"{self.product} of run {self.run}: outcomes {dict(self.outcomes)} do not add up "
                f"to {self.n_events} events; this is a bug, please report it"
            )

    def summary(self) -> str:
        """Return one line: the counts by outcome that are not zero."""
        counts = ", ".join(f"{n} {name}" for name, n in self.outcomes.items() if n)
        return f"{self.stage} {self.run}: {self.n_events} events: {counts or 'none'}"

    def write(self, path: Path) -> None:
        """Write the manifest whole or not at all."""
        write_text(path, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path, product: Product | None = None) -> "Manifest":
        """Return the manifest at `path`; with `product` given it must be that product's."""
        try:
            data = json.loads(path.read_text())
            manifest = cls(**{**data, "containers": tuple(data["containers"])})
        except FileNotFoundError as err:
            raise ContainerError(f"{path}: no such manifest; run the stage that writes it") from err
        except (OSError, ValueError, TypeError, KeyError) as err:
            raise ContainerError(f"{path}: not a manifest ({err})") from err
        if product is not None and manifest.product != product.name:
            raise ContainerError(
                f"{path}: a manifest of {manifest.product}, expected {product.name}"
            )
        return manifest


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, durably."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err


def count(outcomes: Mapping[int, Outcome]) -> dict[str, int]:
    """Return the number of events by outcome, every outcome present."""
    counts = dict.fromkeys(map(str, Outcome), 0)
    for outcome in outcomes.values():
        counts[str(outcome)] += 1
    return counts


def open_product(path: Path, product: Product) -> tuple[Manifest, ProductReader]:
    """Return the manifest at `path` and a reader of its containers."""
    manifest = Manifest.read(path, product)
    return manifest, ProductReader([path.parent / name for name in manifest.containers], product)


def outcomes_after(
    before: Mapping[int, Outcome], manifest: Manifest, reader: ProductReader
) -> dict[int, Outcome]:
    """Return the outcome of every event once a stage has seen its share of them.

    Parameters
    ----------
    before : outcome of every event before the stage
    manifest, reader : of the stage's product; `extra["decided"]` of the manifest has the outcomes
        that only the whole run could decide
    """
    after = dict(before)
    shots = reader.shots()["outcome"]
    after.update(zip(map(int, shots.index), map(Outcome, shots), strict=True))
    decided = manifest.extra.get("decided", {})
    after.update({int(event): Outcome(text) for event, text in decided.items()})
    return after


def write_whole(path: Path, manifest: Any) -> None:
    """Write a dataclass as JSON, whole or not at all."""
    write_text(path, json.dumps(asdict(manifest), indent=1, allow_nan=False) + "\n")


def read_whole(kind: type[T], path: Path, missing: str, what: str, tuples: Sequence[str]) -> T:
    """Return the dataclass that `write_whole` wrote.

    Parameters
    ----------
    missing : what the error says where there is no file
    what : what the error says that the file is not
    tuples : names of the fields that are tuples
    """
    try:
        data = json.loads(path.read_text())
        return kind(**{**data, **{name: tuple(data[name]) for name in tuples}})
    except FileNotFoundError as err:
        raise ContainerError(f"{path}: {missing}") from err
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise ContainerError(f"{path}: not {what} ({err})") from err
