"""Time and memory of merging ten million observations on two ranks.

Reflections of 20,000 made-up crystals are written to a temporary folder and merged with
`mpiexec -n 2`. The memory is that of both ranks together at its highest, as the kernel counts it
(proportional share of shared pages), looked at ten times a second.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gemmi
import numpy as np
import psutil

from benchmarks.merge_data import Simulation, write_run
from xfel_apps.containers.merged import MergedManifest

MPIEXEC = Path(sys.executable).with_name("mpiexec")
GIB = 2**30


def memory_bytes(process: psutil.Process) -> int:
    """Return the memory of all Python processes below `process`."""
    total = 0
    for child in process.children(recursive=True):
        try:
            total += child.memory_full_info().pss if "python" in child.name() else 0
        except psutil.Error:
            continue
    return total


def run(command: list[str]) -> tuple[float, int]:
    """Run a command; return its wall-clock time [s] and the highest memory [bytes]."""
    start_s, peak = time.monotonic(), 0
    with subprocess.Popen(command) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory_bytes(watched))
            time.sleep(0.1)
    if process.returncode:
        raise SystemExit(process.returncode)
    return time.monotonic() - start_s, peak


def cc_true(folder: Path, simulation: Simulation, manifest: MergedManifest) -> float:
    """Return the correlation of merged intensities with the truth."""
    mtz = gemmi.read_mtz_file(str(folder / manifest.files["mtz"]))
    hkl, _, truth = simulation.unique()
    known = dict(zip(map(tuple, hkl.tolist()), truth, strict=True))
    expected = [known[tuple(index)] for index in mtz.make_miller_array().tolist()]
    return float(np.corrcoef(mtz.column_with_label("IMEAN").array, expected)[0, 1])


def main() -> None:
    """Print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=20_000)
    parser.add_argument("--reflections", type=int, default=500, help="a crystal")
    parser.add_argument("--ranks", type=int, default=2)
    args = parser.parse_args()
    simulation = Simulation(d_min_ang=1.7, n_crystals=args.crystals, n_each=args.reflections)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start_s = time.monotonic()
        reflections = write_run(folder / "reflections.json", simulation.lattices())
        write_s = time.monotonic() - start_s
        merged = folder / "merged" / "merged.json"
        command = [str(MPIEXEC), "-n", str(args.ranks), sys.executable, "-m", "mpi4py", "-m"]
        command += ["xfel_apps.merge", "--reflections", str(reflections), "--merged", str(merged)]
        wall_s, peak = run([*command, "--settings", '{"d_min_ang": 1.7}'])
        manifest = MergedManifest.read(merged)
        figures = {
            "observations": manifest.n_observations,
            "crystals": manifest.n_crystals,
            "unique": manifest.statistics["overall"]["n_unique"],
            "ranks": args.ranks,
            "write_s": round(write_s, 1),
            "wall_s": round(wall_s, 1),
            "peak_rss_gib": round(peak / GIB, 2),
            "cc_half": round(manifest.statistics["overall"]["cc_half"], 4),
            "cc_true": round(cc_true(merged.parent, simulation, manifest), 4),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
