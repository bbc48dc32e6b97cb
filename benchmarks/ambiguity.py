"""Crystals indexed in several ways: the share that merging puts into one, without a reference.

Reflections of made-up crystals in P 61, half of them indexed in each way, with scales, fall-offs,
partialities that are wrong and noise; then five real stills of CuNiR (P 21 3), whose ways are
compared with those that the reference MTZ file gives them.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.data import data_folder
from benchmarks.merge_data import Lattice, Simulation, read_dials, write_run
from xfel_apps.merge.output import modes_chosen
from xfel_apps.merge.pipeline import Result, merge
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.mpi import serial

P61 = Simulation(
    cell=(93.0, 93.0, 131.0, 90.0, 90.0, 120.0),
    space_group="P 61",
    d_min_ang=3.0,
    relative_error=0.2,
    is_mixed=True,
)
SD_LOG_PARTIALITY = 0.4
"""Of the partialities that merging is given, about the true ones."""
CUNIR_WIDTHS = (4e-4, 1e-3)
"""Of the partiality model of the real stills [1/Angstrom, radian]."""
CASES = {
    "weak: 1000 crystals x 60": replace(P61, n_crystals=1000, n_each=60, level=50.0),
    "few: 50 crystals x 200": replace(P61, n_crystals=50, n_each=200),
    "300 crystals x 200": replace(P61, n_crystals=300, n_each=200),
    "1000 crystals x 200": replace(P61, n_crystals=1000, n_each=200),
}
LARGE = replace(P61, n_crystals=10_000, n_each=500)


def with_wrong_partialities(simulation: Simulation) -> Iterator[tuple[int, Lattice]]:
    """Yield the lattices of a simulation with partialities as a model would have them."""
    rng = np.random.default_rng(simulation.seed)
    for event, lattice in simulation.lattices():
        true = lattice.columns["partiality"]
        wrong = true * np.exp(rng.normal(0.0, SD_LOG_PARTIALITY, len(true)))
        columns = {**lattice.columns, "partiality": np.clip(wrong, 0.2, 1.0)}
        yield event, replace(lattice, columns=columns)


def in_one_way(simulation: Simulation) -> tuple[float, str]:
    """Merge a simulation; return the share of crystals in the commonest way, and what was said."""
    with tempfile.TemporaryDirectory() as scratch:
        path = write_run(Path(scratch) / "r1.json", with_wrong_partialities(simulation))
        start_s = time.monotonic()
        result = merge(serial(), [path], MergeSettings(d_min_ang=simulation.d_min_ang, n_cycles=1))
    after = np.bincount(simulation.modes_after(result.mode))
    print(f"  {time.monotonic() - start_s:.1f} s with one cycle of merging")
    return float(after.max() / after.sum()), modes_chosen(result)


def cunir(folder: Path, **settings: object) -> Result:
    """Merge the real stills."""
    found = read_dials(folder / "integrated.expt", folder / "integrated.refl", CUNIR_WIDTHS)
    with tempfile.TemporaryDirectory() as scratch:
        numbered = ((number, lattice) for number, (_, lattice) in enumerate(found))
        path = write_run(Path(scratch) / "cunir.json", numbered)
        return merge(serial(), [path], MergeSettings.checked(settings))


def cunir_agreement(folder: Path) -> int:
    """Return how many of the real stills are in the way that the reference gives them.

    Without a reference nothing says which way is which: all may be turned alike.
    """
    expected = cunir(folder, reference=folder / "merged.mtz").mode
    result = cunir(folder)
    same = int((result.mode == expected).sum())
    print(f"CuNiR, 5 stills: {result.mode.tolist()}, by the reference {expected.tolist()}")
    print(f"  {modes_chosen(result)}")
    return max(same, len(expected) - same)


def main() -> None:
    """Print what came of each case, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="10,000 crystals x 500 too")
    args = parser.parse_args()
    folder = data_folder("cunir_ssx")
    cases = {**CASES, **({"10000 crystals x 500": LARGE} if args.large else {})}
    shares = []
    for name, simulation in cases.items():
        print(f"P 61, {name} reflections, half in each way")
        share, said = in_one_way(simulation)
        print(f"  {share:.2%} in one way, {said}")
        shares.append(share)
    agree = cunir_agreement(folder)
    print(json.dumps({"fraction_one_mode": round(min(shares), 5), "cunir_agree": agree}))


if __name__ == "__main__":
    main()
