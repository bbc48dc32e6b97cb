"""What it takes to add 1,000 crystals to 1,000, 10,000 and 100,000 that were merged before.

Stills of made-up crystals, 500 observations each, on two ranks. Each time the runs are merged, one
more is added with `--onto`, and all are merged together for comparison: `cc_anew` is the
correlation of the merged intensities, `cc_half_off` how much CC1/2 differs. At last some are added
again and again until they are twice as many, as often as it is allowed before all are merged anew.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import gemmi
import numpy as np

from benchmarks.merge import exponent, merge
from benchmarks.merge_bulk import of_size, write_bulk
from xfel_apps.containers.merged import MergedManifest

N_EACH = 500
Figures = dict[str, Any]


def compared(grown: Path, anew: Path) -> Figures:
    """Return how merged data that crystals were added to differ from those merged together."""
    one, two = (_intensities(path) for path in (grown, anew))
    common = sorted(one.keys() & two.keys())
    both = np.array([[found[hkl] for hkl in common] for found in (one, two)])
    halves = [MergedManifest.read(path).statistics["overall"]["cc_half"] for path in (grown, anew)]
    return {
        "cc_anew": round(float(np.corrcoef(both)[0, 1]), 7),
        "cc_half_off": round(abs(halves[0] - halves[1]), 7),
    }


def _intensities(path: Path) -> dict[tuple[int, ...], float]:
    """Return the merged intensities beside a manifest by Miller index."""
    mtz = gemmi.read_mtz_file(str(path.with_suffix(".mtz")))
    hkl = map(tuple, mtz.make_miller_array().tolist())
    return dict(zip(hkl, np.array(mtz.column_with_label("IMEAN").array).tolist(), strict=True))


def grow(folder: Path, before: int, added: int, times: int, ranks: int) -> Figures:
    """Return the figures of adding crystals to others so many times."""
    simulation = of_size(before + times * added, N_EACH)
    edges = [0, *range(before, before + times * added + 1, added)]
    runs = [
        write_bulk(folder / f"r{i}.json", simulation, range(*edges[i : i + 2]), f"r{i}")
        for i in range(times + 1)
    ]
    last = folder / "v0" / "merged.json"
    first = merge(ranks, runs[:1], last)
    for number, run in enumerate(runs[1:], 1):
        onto, last = last, folder / f"v{number}" / "merged.json"
        took = merge(ranks, [run], last, "--onto", str(onto))
    anew = merge(ranks, runs, folder / "anew" / "merged.json")
    return {
        "crystals": before,
        "added": f"{times} x {added}",
        "first_cpu_s": first["cpu_s"],
        "add_cpu_s": took["cpu_s"],
        "add_wall_s": took["wall_s"],
        "add_peak_rss_gib": took["peak_rss_gib"],
        "anew_cpu_s": anew["cpu_s"],
        **compared(last, folder / "anew" / "merged.json"),
        "drift": MergedManifest.read(last).growth["drift"],
    }


def main() -> None:
    """Print one line of JSON for each number of crystals, and one for all at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--added", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    args = parser.parse_args()
    found = []
    for before, times in [*((n, 1) for n in sorted(args.crystals)), (5 * args.added, 5)]:
        with tempfile.TemporaryDirectory() as name:
            found.append(grow(Path(name), before, args.added, times, args.ranks))
        print(json.dumps(found[-1]), flush=True)
    once = found[:-1]
    summary = {
        **{f"add_to_{one['crystals']}_cpu_s": one["add_cpu_s"] for one in once},
        "exponent": exponent(once, "add_cpu_s"),
        "cc_anew": min(one["cc_anew"] for one in found),
        "cc_half_off": max(one["cc_half_off"] for one in found),
    }
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
