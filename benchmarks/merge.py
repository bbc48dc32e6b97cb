"""Time and memory of merging 1,000 to 100,000 crystals of 500 observations each on two ranks.

Stills of made-up crystals, whose orientations, scales and fall-offs are not known exactly, are
written to a temporary folder and merged with `mpiexec -n 2`, each number of crystals in a run of
its own. The memory is the sum over the ranks of the most that each ever had resident, shared pages
counted for each. `exponent` is the slope of the logarithm of the wall-clock time against that of
the number of crystals, `cpu_exponent` that of the processor time of all ranks, which others who
use the machine do not change.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import psutil

from benchmarks.merge_bulk import of_size, write_bulk
from benchmarks.merge_data import Simulation
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.plots.style import BLUE, RED, RULE, figure, grid, save_svg, styled

MPIEXEC = Path(sys.executable).with_name("mpiexec")
GIB = 2**30
SETTINGS = '{"d_min_ang": 1.7}'
Figures = dict[str, Any]


def most_resident_bytes(process: psutil.Process) -> dict[int, int]:
    """Return the most memory that each Python process below `process` has had, by process id."""
    found = {}
    for child in process.children(recursive=True):
        try:
            if "python" in child.name():
                status = Path(f"/proc/{child.pid}/status").read_text()
                found[child.pid] = 1024 * int(status.split("VmHWM:")[1].split()[0])
        except (psutil.Error, OSError, IndexError):
            continue
    return found


def run(command: list[str]) -> Figures:
    """Run a command; return its wall-clock and processor time, and its ranks' memory."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start_s, peaks = time.monotonic(), dict[int, int]()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peaks.update(most_resident_bytes(watched))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "wall_s": round(time.monotonic() - start_s, 2),
        "cpu_s": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
        "peak_rss_gib": round(sum(peaks.values()) / GIB, 2),
    }


def merge(ranks: int, runs: Sequence[Path], merged: Path, *arguments: str) -> Figures:
    """Merge runs; return the time and memory it took."""
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "mpi4py", "-m"]
    command += ["xfel_apps.merge", "--reflections", *map(str, runs), "--merged", str(merged)]
    return run([*command, "--settings", SETTINGS, *arguments])


def cc_true(merged: Path, simulation: Simulation) -> float:
    """Return the correlation of the merged intensities beside a manifest with the truth."""
    mtz = gemmi.read_mtz_file(str(merged.with_suffix(".mtz")))
    hkl, _, truth = simulation.unique()
    known = dict(zip(map(tuple, hkl.tolist()), truth, strict=True))
    expected = [known[tuple(index)] for index in mtz.make_miller_array().tolist()]
    return float(np.corrcoef(mtz.column_with_label("IMEAN").array, expected)[0, 1])


def measure(n_crystals: int, n_each: int, ranks: int) -> Figures:
    """Return the figures of merging so many crystals."""
    simulation = of_size(n_crystals, n_each)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reflections = write_bulk(folder / "r1.json", simulation, range(n_crystals))
        path = folder / "merged" / "merged.json"
        took = merge(ranks, [reflections], path)
        manifest = MergedManifest.read(path)
        return {
            "crystals": n_crystals,
            **took,
            "observations": manifest.n_observations,
            "cc_half": round(manifest.statistics["overall"]["cc_half"], 5),
            "cc_true": round(cc_true(path, simulation), 5),
        }


def exponent(found: list[Figures], what: str) -> float | None:
    """Return the slope of a figure against the number of crystals, both as logarithms.

    None where there is one number of crystals only.
    """
    if len(found) < 2:
        return None
    x, y = (np.log([one[name] for one in found]) for name in ("crystals", what))
    return round(float(np.polyfit(x, y, 1)[0]), 3)


@styled
def draw(found: list[Figures], ranks: int, path: Path) -> None:
    """Draw time and memory against the number of crystals."""
    picture = figure(7.5, 3.2)
    times, memory = picture.subplots(1, 2)
    crystals = np.array([one["crystals"] for one in found])
    largest = found[-1]
    for what, name, colour in (
        ("wall_s", "wall clock", BLUE),
        ("cpu_s", f"processor, {ranks} ranks together", RED),
    ):
        times.plot(crystals, [one[what] for one in found], "o-", color=colour, label=name)
        times.plot(crystals, largest[what] * crystals / crystals[-1], "--", color=RULE, zorder=0)
    times.set_xscale("log")
    times.set_yscale("log")
    times.set_ylabel("time [s]")
    times.legend(loc="upper left")
    memory.plot(crystals, [one["peak_rss_gib"] for one in found], "o-", color=BLUE)
    memory.set_ylabel("memory of all ranks [GiB]")
    memory.set_ylim(0)
    for axes in (times, memory):
        axes.set_xlabel("crystals of 500 observations")
        grid(axes)
    save_svg(picture, path)


def main() -> None:
    """Print one line of JSON for each number of crystals, and one for all at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--crystals", type=int, nargs="+", default=[1000, 3000, 10_000, 30_000, 100_000]
    )
    parser.add_argument("--reflections", type=int, default=500, help="a crystal")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--plot", type=Path, default=Path("build/merge-growth.svg"))
    args = parser.parse_args()
    found = []
    for n_crystals in sorted(args.crystals):
        found.append(measure(n_crystals, args.reflections, args.ranks))
        print(json.dumps(found[-1]), flush=True)
    args.plot.parent.mkdir(parents=True, exist_ok=True)
    draw(found, args.ranks, args.plot)
    slopes = {
        name: exponent(found, f"{what}_s")
        for name, what in (("exponent", "wall"), ("cpu_exponent", "cpu"))
    }
    print(json.dumps({**found[-1], "ranks": args.ranks, **slopes}))


if __name__ == "__main__":
    main()
