"""Products of a stage as other stages find them, written with the containers' own writer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from xfel_apps.containers.manifest import Manifest, count
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import Product, ShotResult
from xfel_apps.containers.rows import R
from xfel_apps.containers.spots import Spots
from xfel_apps.containers.writer import ContainerWriter


def write_product(
    folder: Path,
    product: Product,
    results: Mapping[int, ShotResult],
    outcomes: Mapping[int, Outcome],
    **extra: Any,
) -> Path:
    """Write a product of one rank, with `extra` in its manifest; return where the manifest is."""
    digest = f"{product.name}-digest"
    with ContainerWriter(folder / product.name, 0, product, digest) as writer:
        for event, result in results.items():
            writer.append(event, result, 0.0, 0.0)
    path = folder / f"{product.name}.json"
    Manifest(
        product=product.name,
        stage=product.stage,
        version=product.version,
        run="r1",
        digest=digest,
        settings={},
        inputs={},
        n_events=len(outcomes),
        outcomes=count(outcomes),
        containers=(f"{product.name}/{writer.path.name}",),
        extra=extra,
    ).write(path)
    return path


def spots_at(panel: np.ndarray, fast_px: np.ndarray, slow_px: np.ndarray, **columns: Any) -> Spots:
    """Return good spots at these places; `columns` replaces what is usual."""
    one = np.ones(len(fast_px))
    usual = {
        "fast_var_px2": 0.04 * one,
        "slow_var_px2": 0.04 * one,
        "intensity": 100 * one,
        "sigma": 10 * one,
        "background": 8 * one,
        "peak": 60 * one,
        "peak_fast": fast_px.astype(int),
        "peak_slow": slow_px.astype(int),
        "n_pixels": 6 * one,
        "d_ang": 5 * one,
        "flags": 0 * one,
    }
    return Spots.make(panel=panel, fast_px=fast_px, slow_px=slow_px, **{**usual, **columns})


class InMemory:
    """Rows of shots that are kept by event in a dictionary (a `RowSource`)."""

    def __init__(self, results: Mapping[int, ShotResult]) -> None:
        self._results = results

    def rows(self, table: str, event: int, kind: type[R]) -> R:
        found = self._results.get(event)
        return kind.empty() if found is None else found.tables.get(table, kind.empty())  # type: ignore[return-value]
