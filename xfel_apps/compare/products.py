"""Read from products what the comparison needs."""

from pathlib import Path

import pandas as pd

from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.product import Product


def lattices(events: Path, crystals: Path, product: Product = CRYSTALS) -> pd.DataFrame:
    """Return the lattices of a run, one row each, with `shot`: the frame in the raw file.

    Parameters
    ----------
    events, crystals : manifests of a run whose shots lie in one raw file
    product : what `crystals` is the manifest of: anything with a table `crystals`
    """
    frames = Events.read(events).frame["frame"]
    _, reader = open_product(crystals, product)
    try:
        table = reader.frame("crystals")
    finally:
        reader.close()
    return table.assign(shot=frames.loc[table["event"]].to_numpy())
