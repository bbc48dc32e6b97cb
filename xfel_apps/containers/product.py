"""What a product is: its name, the stage that writes it, its tables and their columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.rows import Rows, column

REASON_BYTES = 240


@dataclass(frozen=True)
class Shots(Rows):
    """One row an event: how it ended, why, when. Products add their own columns."""

    event: NDArray[np.int64] = column("i8", "", "number of the event in its run, from 0")
    outcome: NDArray[np.uint8] = column("u1", "", "code of the outcome, in the order of `Outcome`")
    reason: NDArray[np.bytes_] = column(f"S{REASON_BYTES}", "", "why it ended so (UTF-8)")
    start_s: NDArray[np.float64] = column("f8", "s", "wall-clock start, seconds since 1970")
    end_s: NDArray[np.float64] = column("f8", "s", "wall-clock end, seconds since 1970")
    cpu_s: NDArray[np.float32] = column("f4", "s", "processor time spent")
    rank: NDArray[np.int32] = column("i4", "", "rank that did the work")


@dataclass(frozen=True)
class Product:
    """A product of a per-shot stage: `shots` has one row an event, `tables` any number."""

    name: str
    stage: str
    version: int
    shots: type[Shots]
    tables: Mapping[str, type[Rows]]


@dataclass(frozen=True)
class ShotResult:
    """What a stage made of one event.

    Attributes
    ----------
    outcome, reason : how it ended and why (empty where the outcome says it all)
    columns : values of the product's own columns of `shots`
    tables : rows of each table of the product; a table left out has no rows
    """

    outcome: Outcome
    reason: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, Rows] = field(default_factory=dict)
