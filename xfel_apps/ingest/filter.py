"""The user's filter: an expression over the scalars of the shots."""

import ast
from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xfel_apps.errors import SettingsError

ALLOWED = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Name, ast.Constant,
    ast.boolop, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context,
)  # fmt: skip
"""Comparisons and arithmetic; no calls, attributes or indices."""


def keep(
    expression: str, scalars: pd.DataFrame, known_elsewhere: Collection[str] = ()
) -> NDArray[np.bool_]:
    """Return which shots (n,) the filter keeps.

    Parameters
    ----------
    expression : comparisons of scalars, joined by `and`, `or`, `not`
    scalars : one row a shot; columns without any value are not known in this run
    known_elsewhere : columns that other shots of the run have values of

    >>> shots = pd.DataFrame({"pulse_energy_mj": [0.2, 0.9], "laser_on": [True, True]})
    >>> keep("pulse_energy_mj > 0.5 and laser_on", shots)
    array([False,  True])
    """
    without = set(scalars.columns[scalars.isna().all()]) - set(known_elsewhere)
    known = scalars.drop(columns=list(without))
    _check_names(expression, [str(name) for name in known])
    try:
        result = known.eval(expression, engine="python")
    except Exception as err:  # pandas raises what its parts raise
        raise SettingsError(f"ingest.filter {expression!r}: {err}") from err
    values = np.asarray(result)
    if values.shape != (len(scalars),) or values.dtype != bool:
        raise SettingsError(
            f"ingest.filter {expression!r}: expected true or false for each shot, "
            "such as `pulse_energy_mj > 0.5`"
        )
    return values


def parsed(expression: str) -> ast.Expression:
    """Return the expression taken apart; raise `SettingsError` unless it is plain."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except SyntaxError as err:
        raise SettingsError(f"ingest.filter {expression!r}: not an expression ({err.msg})") from err
    for node in ast.walk(tree):
        if not isinstance(node, ALLOWED):
            raise SettingsError(
                f"ingest.filter {expression!r}: {type(node).__name__} is not allowed, only "
                "comparisons and arithmetic of scalars"
            )
    return tree


def _check_names(expression: str, known: list[str]) -> None:
    """Raise `SettingsError` unless the expression is plain and all its names are known."""
    for node in ast.walk(parsed(expression)):
        if isinstance(node, ast.Name) and node.id not in known:
            raise SettingsError(
                f"ingest.filter {expression!r}: {node.id} is not a scalar of this run; known: "
                + ", ".join(sorted(known))
            )
