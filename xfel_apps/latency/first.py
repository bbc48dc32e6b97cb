"""When each shot of a live run first had each result: kept when what the crews wrote is removed."""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.product import Product
from xfel_apps.containers.reader import readable_parts
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.errors import ContainerError
from xfel_apps.live.layout import LiveRun

Times = NDArray[np.float64]
PRODUCTS: tuple[Product, ...] = (SPOTS, CRYSTALS, REFLECTIONS)


def first_results(live: LiveRun, n_live: int) -> dict[str, Times]:
    """Return stage -> end of its work on each live shot (n_live,) [s since 1970]; NaN: none.

    Of several times that a shot was processed the first counts. What was kept of crews whose
    files are removed counts as well.
    """
    found = _kept(live.first, n_live)
    for product in PRODUCTS:
        for part in readable_parts(live.all_parts(product.name), product):
            ends: Times = part.file["shots/end_s"][: part.n_shots]
            known = part.events < n_live
            np.fmin.at(found[product.stage], part.events[known], ends[known])
    return found


def _kept(path: Path, n_live: int) -> dict[str, Times]:
    found = {product.stage: np.full(n_live, np.nan) for product in PRODUCTS}
    try:
        with h5py.File(path) as file:
            for stage, times in found.items():
                kept = file[stage][:n_live]
                times[: len(kept)] = kept
    except (OSError, KeyError):
        return found
    return found


def keep(path: Path, first: Mapping[str, Times]) -> None:
    """Write the times of first results whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        with h5py.File(part, "w") as file:
            for stage, times in first.items():
                file.create_dataset(stage, data=times).attrs["units"] = "s"
        part.replace(path)
    except OSError as err:
        raise ContainerError(f"{path}: cannot write ({err})") from err
