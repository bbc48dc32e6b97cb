"""Files of DIALS: which reflection table goes with which experiment list, and what it holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import SourceError
from xfel_apps.interchange.expt import Experiment, read_expt
from xfel_apps.interchange.flags import INTEGRATED, has
from xfel_apps.interchange.refl import ReflTable, read_refl

IntArray = NDArray[np.int64]

READ = (
    "background.mean", "flags", "id", "intensity.prf.value", "intensity.prf.variance",
    "intensity.sum.value", "intensity.sum.variance", "miller_index", "n_signal", "panel",
    "partiality", "peak", "peak.fast", "peak.slow", "xyzcal.px", "xyzobs.px.value",
    "xyzobs.px.variance",
)  # fmt: skip


class Kind(IntEnum):
    """What a reflection table holds."""

    STRONG = 0
    INDEXED = 1
    INTEGRATED = 2


@dataclass(frozen=True)
class Pair:
    """An experiment list and the table that goes with it, if there is one.

    Attributes
    ----------
    rows : experiment -> its rows in the table
    """

    path: Path
    experiments: Sequence[Experiment]
    table: ReflTable | None
    kind: Kind
    rows: Sequence[IntArray]

    @property
    def n_left_out(self) -> int:
        """Rows of the table that belong to no experiment, such as spots that were not indexed."""
        n_rows = self.table.n_rows if self.table is not None else 0
        return n_rows - sum(len(rows) for rows in self.rows)


def read_pairs(paths: Sequence[Path]) -> list[Pair]:
    """Return experiment lists with their tables, in order of the lists.

    A table goes with the list that has its identifiers, else with that of the same name, else
    with the only one.
    """
    lists = {path: read_expt(path) for path in paths if path.suffix in (".expt", ".json")}
    tables = [read_refl(path, READ) for path in paths if path.suffix == ".refl"]
    if not lists:
        raise SourceError(f"{tables[0].path}: give the .expt file that goes with it as well")
    pairs, used = [], set()
    for table in tables:
        path = _list_of(table, lists)
        used.add(path)
        pairs.append(_pair(path, lists[path], table))
    pairs += [_pair(path, found, None) for path, found in lists.items() if path not in used]
    return pairs


def _list_of(table: ReflTable, lists: Mapping[Path, Sequence[Experiment]]) -> Path:
    wanted = set(table.identifiers.values())
    named = table.path.with_suffix("")
    same_name = [path for path in lists if path.with_suffix("") == named]
    has_all = [
        path for path, found in lists.items() if wanted and wanted <= {e.identifier for e in found}
    ]
    for choice in (same_name if not wanted else [p for p in same_name if p in has_all], has_all):
        if choice:
            return choice[0] if choice is same_name else choice[-1]
    if len(lists) == 1 and not wanted:
        return next(iter(lists))
    raise SourceError(
        f"{table.path}: none of the experiment lists given belongs to it; give its .expt file"
    )


def _pair(path: Path, experiments: Sequence[Experiment], table: ReflTable | None) -> Pair:
    if table is None:
        return Pair(path, experiments, None, Kind.STRONG, [])
    ids = table.need("id").astype(np.int64)
    if table.identifiers:
        known = {e.identifier: number for number, e in enumerate(experiments)}
        ids = _renumbered(ids, {k: known[v] for k, v in table.identifiers.items()})
    if len(ids) and ids.max() >= len(experiments):
        raise SourceError(
            f"{table.path}: rows of experiment {ids.max()}, but {path} has {len(experiments)}"
        )
    order = np.argsort(ids, kind="stable")
    edges = np.searchsorted(ids[order], np.arange(len(experiments) + 1))
    rows = [order[a:b] for a, b in pairwise(edges)]
    return Pair(path, experiments, table, _kind(table, experiments), rows)


def _renumbered(ids: IntArray, numbers: Mapping[int, int]) -> IntArray:
    """Return the experiment (n,) of each row; -1 where it has none."""
    known, inverse = np.unique(ids, return_inverse=True)
    new = np.array([numbers.get(int(i), -1) for i in known], dtype=np.int64)
    return np.asarray(new[inverse]) if len(ids) else ids


def _kind(table: ReflTable, experiments: Sequence[Experiment]) -> Kind:
    flags = table.columns.get("flags", np.empty(0, dtype=np.uint64))
    if "miller_index" not in table.columns or all(e.crystal is None for e in experiments):
        return Kind.STRONG
    return Kind.INTEGRATED if has(flags, INTEGRATED).any() else Kind.INDEXED


def has_kind(pairs: Sequence[Pair], kind: Kind) -> bool:
    """Return whether any table is of a kind."""
    return any(pair.kind == kind and pair.table is not None for pair in pairs)
