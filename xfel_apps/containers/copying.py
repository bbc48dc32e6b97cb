"""Copies of many shots at once from one container to another, under other numbers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import Part, ranges
from xfel_apps.containers.writer import extend, new_container
from xfel_apps.errors import ContainerError

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Share:
    """Shots of one part file, and where they go.

    Attributes
    ----------
    source, target : part files; the target must not be there yet
    shots : (n,) which shots of the source, ascending
    events : (n,) their numbers in the target
    rank : what the target says of who did the work
    """

    source: Path
    target: Path
    shots: Numbers
    events: Numbers
    rank: int


class DamagedError(ContainerError):
    """A part file ends too early or its bytes are damaged: what it should hold has to be redone."""


def copy_shots(share: Share, product: Product, digest: str) -> None:
    """Write shots of a part file to another one, whole or not at all; a column at a time.

    Raises
    ------
    DamagedError : the source cannot be read
    ContainerError : the target cannot be written
    """
    unfinished = share.target.with_name(f".{share.target.name}.part")
    part = Part(share.source, product)
    try:
        unfinished.parent.mkdir(parents=True, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        with new_container(unfinished, share.rank, product, digest) as file:
            for table in product.tables:
                counts = np.diff(part.ends[table], prepend=0)
                starts = part.ends[table] - counts
                rows = ranges(starts[share.shots], counts[share.shots])
                for name in product.tables[table].schema():
                    extend(file, f"{table}/{name}", _read(part, f"{table}/{name}", rows))
                extend(file, f"shots/{table}_end", np.cumsum(counts[share.shots]))
            new = {"event": share.events, "rank": np.full(len(share.shots), share.rank)}
            for name in product.shots.schema():
                kept = new[name] if name in new else _read(part, f"shots/{name}", share.shots)
                extend(file, f"shots/{name}", kept)
        unfinished.replace(share.target)
    except OSError as err:
        unfinished.unlink(missing_ok=True)
        raise ContainerError(f"{share.target}: cannot write ({err})") from err
    except DamagedError:
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        part.file.close()


def _read(part: Part, name: str, rows: Numbers) -> NDArray[Any]:
    """Return some rows, ascending, of a column; one large read."""
    first, stop = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
    try:
        values: NDArray[Any] = part.file[name][first:stop]
    except OSError as err:
        raise DamagedError(f"{part.path}: {name} cannot be read ({err})") from err
    return values if len(rows) == stop - first else values[rows - first]
