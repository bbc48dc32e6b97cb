"""Whether two runs have the same products, but for when and where they were made."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xfel_apps.containers import powder as powders
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS

WHEN_AND_WHERE = ["start_s", "end_s", "cpu_s", "rank"]


def content(run: Path, product: Product) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Return what a product's manifest says and its tables."""
    manifest, reader = open_product(run / f"{product.name}.json", product)
    tables = {name: reader.frame(name) for name in product.tables}
    tables["shots"] = reader.shots().drop(columns=WHEN_AND_WHERE)
    reader.close()
    said = {name: getattr(manifest, name) for name in ("digest", "inputs", "outcomes", "extra")}
    return said, tables


def assert_same_products(found: Path, expected: Path) -> None:
    """Compare events, spots with powder, crystals and reflections, bit for bit."""
    for product in (EVENTS, SPOTS, CRYSTALS, REFLECTIONS):
        (said, tables), (wanted, wanted_tables) = (
            content(found, product),
            content(expected, product),
        )
        assert said == wanted, product.name
        for name, table in wanted_tables.items():
            pd.testing.assert_frame_equal(tables[name], table, obj=f"{product.name}/{name}")
    one, two = (powders.read_powder(run / "spots" / "powder.h5") for run in (found, expected))
    assert (one.n_all, one.n_hits) == (two.n_all, two.n_hits)
    for name in powders.IMAGES:
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
