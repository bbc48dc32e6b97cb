"""Columns of a table as a dataclass: one definition for arrays in memory and on disk."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray


def column(dtype: str, unit: str, doc: str, shape: tuple[int, ...] = ()) -> Any:
    """Return a dataclass field for one column: storage dtype, unit and meaning."""
    return field(
        default=None,
        metadata={"dtype": np.dtype(dtype), "unit": unit, "doc": doc, "shape": shape},
    )


@dataclass(frozen=True)
class Rows:
    """Base of a table's rows: every field is an array with one entry a row.

    Subclasses are frozen dataclasses whose fields are made by `column`.
    """

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    @classmethod
    def schema(cls) -> dict[str, Mapping[str, Any]]:
        """Return column name -> dtype, unit, doc and shape of one entry."""
        return {item.name: item.metadata for item in fields(cls)}

    @classmethod
    def make(cls, **columns: Any) -> Self:
        """Return rows from array-likes, converted to the columns' dtypes; all must be given."""
        schema = cls.schema()
        missing = schema.keys() ^ columns.keys()
        if missing:
            raise TypeError(f"{cls.__name__}: columns missing or unknown: {sorted(missing)}")
        arrays = {
            name: np.asarray(values, dtype=schema[name]["dtype"])
            for name, values in columns.items()
        }
        lengths = {len(array) for array in arrays.values()}
        if len(lengths) > 1:
            raise ValueError(f"{cls.__name__}: columns of unequal lengths {sorted(lengths)}")
        return cls(**arrays)

    @classmethod
    def empty(cls) -> Self:
        """Return no rows."""
        return cls(
            **{
                name: np.empty((0, *meta["shape"]), dtype=meta["dtype"])
                for name, meta in cls.schema().items()
            }
        )

    @classmethod
    def concatenate(cls, parts: Sequence[Self]) -> Self:
        """Return the rows of `parts` one after the other."""
        if not parts:
            return cls.empty()
        return cls(
            **{
                name: np.concatenate([getattr(part, name) for part in parts])
                for name in cls.schema()
            }
        )

    def take(self, rows: NDArray[Any] | slice) -> Self:
        """Return the chosen rows (indices, a slice or a boolean array)."""
        return type(self)(**{name: getattr(self, name)[rows] for name in self.schema()})

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return column name -> array."""
        return {name: getattr(self, name) for name in self.schema()}


R = TypeVar("R", bound=Rows)


class RowSource(Protocol):
    """Where the rows of a shot come from: containers on disk, or what a stage has just found."""

    def rows(self, table: str, event: int, kind: type[R]) -> R:
        """Return the rows of one event in `table` as `kind`; none if the event is not here."""
