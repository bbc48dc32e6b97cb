"""Snakemake jobs as Parsl tasks inside pilot blocks: `snakemake --executor parsl`.

The names that Snakemake looks for are imported when they are asked for, since workers import this
package too and should not wait for Snakemake.
"""

from importlib import import_module
from typing import Any

__all__ = ["Executor", "ExecutorSettings", "common_settings"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"{__name__} has no {name}")
    return getattr(import_module(f"{__name__}.executor"), name)
