"""Real stills beside DIALS, in the same run: how many reflections are clear, and whether they are.

Thermolysin of an XFEL (CSPAD, 3 stills) and thaumatin of a synchrotron (Pilatus, 5 stills). Counted
are reflections with I/sigma above 3. Whether they are real is told by what is above 3 where the
lattices, turned about the beam, have reflections and nothing is; by their agreement with the same
reflections of the other stills (thaumatin), and with the structure factors of 2TLI (thermolysin).
Written to `docs/reference/real-stills.md`.
"""

import argparse
import bz2
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from benchmarks.data import data_folder
from benchmarks.dials_run import Dials, cpu_seconds, run_dials
from benchmarks.real_page import write_page
from benchmarks.real_places import TURNS_DEG, Places
from benchmarks.repeats import (
    UNIQUE,
    between_stills,
    one_each,
    squared_amplitudes,
    with_model,
    with_unique,
)
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.results import RunResults
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.process import Request, process

Array = NDArray[np.float64]
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "real-stills.md"
CLEAR = 3.0
"""I/sigma above which a reflection counts."""
AWAY_PX = 15.0
"""Turned reflections count this far from all spots that were found or could be."""


@dataclass(frozen=True)
class Stills:
    """Real stills, and what both programs are told of them.

    Attributes
    ----------
    pattern, cell, space_group : the images and the crystals
    phil : what DIALS is told besides: for the CSPAD, what its own tests of such images use
    model : coordinates of the crystal's molecule; empty: none at hand
    """

    pattern: str
    cell: str
    space_group: str
    phil: str
    model: str = ""


STILLS = {
    "thermolysin_cspad": Stills(
        "*.cbf",
        "93.2 93.2 130.7 90 90 120",
        "P6122",
        "spotfinder.filter.min_spot_size=2\nintegration.summation.detector_gain=25\nspotfinder.threshold.dispersion.gain=25\n"
        "spotfinder.threshold.dispersion.global_threshold=100\n"
        "indexing.refinement_protocol.d_min_start=1.7\n"
        "indexing.stills.refine_candidates_with_known_symmetry=True\n",
        "2tli.pdb",
    ),
    "thaumatin_pilatus": Stills("*_000[1-5].cbf.bz2", "58 58 150 90 90 90", "P41212", ""),
}


@dataclass(frozen=True)
class Found:
    """What one program made of the stills.

    Attributes
    ----------
    rows : usable reflections: event, H, K, L, d_ang, partiality, intensity, sigma, and `full`, the
        intensity over the recorded share
    nothing : I/sigma where nothing is
    cpu_s : processor time of the whole
    events : numbers of all stills
    """

    rows: pd.DataFrame
    nothing: Array
    cpu_s: float
    events: range

    @property
    def clear(self) -> pd.DataFrame:
        """The reflections that are clear."""
        return self.rows[self.rows["intensity"] > CLEAR * self.rows["sigma"]]

    @property
    def merged(self) -> pd.DataFrame:
        """Those of which enough is recorded for merging."""
        return self.clear[self.clear["partiality"] >= MergeSettings().min_partiality]


def ours(stills: Stills, images: list[Path], folder: Path) -> tuple[Found, dict[int, cKDTree]]:
    """Return what we make of images, and the places by still where something is."""
    start = cpu_seconds()
    index = {"cell": stills.cell, "space_group": stills.space_group}
    process(Request([str(path) for path in images], folder, 1, False, {"index": index}))
    cpu_s = cpu_seconds() - start
    results = RunResults(folder / "run")
    rows = results.reader(REFLECTIONS).frame("reflections")
    results.close()
    rows = rows[rows["flags"] == 0]
    rows = with_unique(rows.assign(full=rows["intensity"] / rows["partiality"]), stills.space_group)
    places = Places(folder / "run")
    taken = {event: places.taken(event) for event in places.events}
    away = []
    for event in places.events:
        where, value = places.turned(event)
        away.append(value[taken[event].query(where)[0] > AWAY_PX])
    places.close()
    return Found(rows, np.concatenate(away), cpu_s, range(len(images))), taken


def theirs(stills: Stills, dials: Dials, run: Path, taken: dict[int, cKDTree]) -> Found:
    """Return what DIALS made of the stills."""
    places, away = Places(run), []
    for event in taken:
        detector = places.detector(event)
        turned = dials.turned[dials.turned["event"] == event]
        mine = dials.reflections[dials.reflections["event"] == event]
        where, own = (
            np.column_stack(
                detector.slab_pixels(
                    *(rows[name].to_numpy() for name in ("panel", "fast_px", "slow_px"))
                )
            )
            for rows in (turned, mine)
        )
        if not len(own):
            continue
        value = (turned["intensity"] / turned["sigma"]).to_numpy()
        far = (taken[event].query(where)[0] > AWAY_PX) & (cKDTree(own).query(where)[0] > AWAY_PX)
        away.append(value[far])
    places.close()
    rows = dials.reflections.assign(full=dials.reflections["intensity"], partiality=1.0)
    rows = with_unique(rows, stills.space_group)
    return Found(rows, np.concatenate(away), dials.cpu_s, dials.events)


def agreement(rows: pd.DataFrame, model: "pd.Series[float] | None") -> tuple[int, float]:
    """Return how many are compared, and how they agree with the model, or on different stills."""
    return between_stills(rows) if model is None else with_model(rows, model)


def compared(found: Found, other: Found, model: "pd.Series[float] | None") -> dict[str, object]:
    """Return one program's figures: of all that is clear, and of what is clear to both."""
    clear = one_each(found.merged)
    both = clear.merge(one_each(other.merged)[["event", *UNIQUE]], on=["event", *UNIQUE])
    nothing = found.nothing
    return {
        "clear": found.clear.groupby("event").size().reindex(found.events, fill_value=0).tolist(),
        "merged": len(found.merged),
        "n_agreement": agreement(clear, model)[0],
        "agreement": round(agreement(clear, model)[1], 4),
        "n_both": agreement(both, model)[0],
        "agreement_both": round(agreement(both, model)[1], 4),
        "n_nothing": len(nothing),
        "false_fraction": round(float(np.mean(nothing > CLEAR)), 5),
        "nothing_sd": round(float(nothing.std()), 3),
        "cpu_s": round(found.cpu_s, 1),
    }


def unpacked(data: Path, pattern: str, folder: Path) -> list[Path]:
    """Return the images, unpacked in a folder where they are packed."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for path in sorted(data.glob(pattern)):
        image = path
        if path.suffix == ".bz2":
            image = folder / path.stem
            image.write_bytes(bz2.decompress(path.read_bytes()))
        images.append(image)
    return images


def compare(name: str, folder: Path) -> dict[str, dict[str, object]]:
    """Return the figures of the programs on one set of stills."""
    stills, data = STILLS[name], data_folder(name)
    images = unpacked(data, stills.pattern, folder / "images")
    model = None
    if stills.model:
        model = squared_amplitudes(data_folder("models") / stills.model, 1.6)
    mine, taken = ours(stills, images, folder / "ours")
    phil = (
        f"indexing.known_symmetry.unit_cell={stills.cell.replace(' ', ',')}\n"
        f"indexing.known_symmetry.space_group={stills.space_group}\n{stills.phil}"
    )
    dials = run_dials(images, phil, TURNS_DEG, folder / "dials")
    if dials is None:
        print(f"{name}: DIALS is not installed")
        return {"xfelflow": compared(mine, mine, model)}
    other = theirs(stills, dials, folder / "ours" / "run", taken)
    return {"xfelflow": compared(mine, other, model), "DIALS": compared(other, mine, model)}


def main() -> None:
    """Print the figures, write the page, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep what is written in this folder")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = {name: compare(name, (args.out or Path(scratch)) / name) for name in STILLS}
    for name, programs in found.items():
        for program, figures in programs.items():
            print(f"{name}, {program}: {figures}")
    if all("DIALS" in programs for programs in found.values()):
        write_page(PAGE, found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
