"""Which spots are good for indexing."""

import numpy as np

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS, SpotFlag, Spots, good_spots, peak_keys, pixels_of_keys
from xfel_apps.containers.writer import ContainerWriter


def spots(panel: list[int], slow: list[int], fast: list[int], flags: list[int]) -> Spots:
    values = dict.fromkeys(Spots.schema(), np.zeros(len(panel)))
    return Spots.make(
        **{**values, "panel": panel, "peak_slow": slow, "peak_fast": fast, "flags": flags}
    )


def test_good_spots_are_neither_flagged_nor_hot(tmp_path) -> None:
    ice, edge = int(SpotFlag.ICE), int(SpotFlag.EDGE | SpotFlag.SATURATED)
    found = spots([0, 0, 1, 1, 2], [5, 6, 5, 5, 900], [7, 7, 7, 8, 4000], [0, ice, edge, 0, 0])
    with ContainerWriter(tmp_path, 0, SPOTS, "d") as writer:
        writer.append(
            3, ShotResult(Outcome.MISS, columns={"n_spots": 4}, tables={"spots": found}), 0.0, 0.0
        )
    reader = ProductReader(tmp_path.glob("*.h5"), SPOTS)
    assert good_spots(reader, 3, []).peak_fast.tolist() == [7, 7, 8, 4000]
    hot = [[1, 5, 8], [0, 900, 4000]]
    assert good_spots(reader, 3, hot).peak_fast.tolist() == [7, 7, 4000]
    assert len(good_spots(reader, 99, hot)) == 0
    reader.close()


def test_pixels_survive_their_keys() -> None:
    found = spots([0, 63, 500], [0, 30000, 1], [32767, 2, 0], [0, 0, 0])
    assert pixels_of_keys(peak_keys(found)) == [[0, 0, 32767], [63, 30000, 2], [500, 1, 0]]
