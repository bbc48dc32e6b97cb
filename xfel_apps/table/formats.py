"""Tables as text: aligned for people, CSV and JSON exact for programs."""

import csv
import io
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd


def to_text(table: pd.DataFrame) -> str:
    """Return aligned columns; numbers rounded to what a reader needs.

    >>> print(to_text(pd.DataFrame({"run": ["r1"], "a": [79.20001], "n": [3]})))
    run       a n
     r1 79.2000 3
    """
    if not len(table):
        return "no rows: " + " ".join(table.columns)
    shown = pd.DataFrame({name: [_cell(v) for v in table[name].tolist()] for name in table})
    return shown.to_string(index=False)


def _cell(value: Any) -> str:
    if value is None or value is pd.NA:
        return "-"
    if isinstance(value, float):
        return "-" if math.isnan(value) else _number(value)
    return " ".join(str(value).split()) or "-"


def _number(value: float) -> str:
    """Return six significant digits, without an exponent where one can do without.

    >>> [_number(x) for x in (79.20001, 0.0123456, 1234567.0, 1e-7, 0.0)]
    ['79.2000', '0.0123456', '1234567', '1e-07', '0']
    """
    if value == 0.0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 5 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(digits, 0)}f}" if digits <= 9 else f"{value:.6g}"


def to_csv(table: pd.DataFrame) -> str:
    """Return comma-separated values, every number in full; nothing where there is none."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(_rows(table))
    return buffer.getvalue()


def to_json(table: pd.DataFrame) -> str:
    """Return a list of records, every number in full, null where there is none."""
    names = [str(name) for name in table]
    rows = [json.dumps(dict(zip(names, row, strict=True)), allow_nan=False) for row in _rows(table)]
    return "[" + ",\n ".join(rows) + "]"


def _rows(table: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    """Yield the rows, None where there is no number."""
    columns = [[_value(value) for value in _shortest(table[name])] for name in table]
    return zip(*columns, strict=True)


def _shortest(column: "pd.Series[Any]") -> list[Any]:
    """Return the values; of single precision the shortest decimals that mean the same."""
    if column.dtype == np.float32:
        return [float(str(value)) for value in column.to_numpy()]
    return column.tolist()


def _value(value: Any) -> Any:
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value
