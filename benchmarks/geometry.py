"""How well a displaced detector is found: panels off by up to 3 px, 2 mrad, distance by 1 mm.

Spots of 1,000 simulated crystals (P43212, cells that scatter by 0.1 %) are predicted on the true
detector with errors of 0.2 px, recorded with the wrong geometry, indexed in it by the index stage
and refined (with --rounds 2 then indexed in the refined one and refined again). What is compared is
where rays to a grid of points on each true panel fall on the refined one, after the one turn about
the beam that crystals turn with: `rms_px_*` [pixel].
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tests.refgeom.simulated import (
    TARGET,
    WAVELENGTH_ANG,
    design,
    displaced,
    ray_errors_px,
    rms_px,
    take_stills,
    write_run,
)
from xfel_apps.containers.geometry import GeometryManifest
from xfel_apps.containers.manifest import Manifest
from xfel_apps.geometry import Beam, Detector
from xfel_apps.ingest.override import distance_mm
from xfel_apps.refgeom.settings import RefgeomSettings

MPIEXEC = Path(sys.executable).with_name("mpiexec")
INDEX = {"cell": list(TARGET.cell), "space_group": TARGET.space_group, "max_rmsd_px": 6.0}


def run(ranks: int, stage: str, *arguments: str) -> float:
    """Run a stage's app; return its wall-clock time [s]."""
    start_s = time.monotonic()
    command = [str(MPIEXEC), "-n", str(ranks), sys.executable, "-m", "mpi4py"]
    subprocess.run([*command, "-m", f"xfel_apps.{stage}", *arguments], check=True)
    return time.monotonic() - start_s


def index(folder: Path, ranks: int) -> tuple[int, float]:
    """Index a run's spots; return how many shots were indexed and the time it took [s]."""
    names = ("events", "spots", "crystals")
    files = [text for name in names for text in (f"--{name}", str(folder / f"{name}.json"))]
    wall_s = run(ranks + 1, "index", *files, "--settings", json.dumps(INDEX))
    return Manifest.read(folder / "crystals.json").outcomes["indexed"], wall_s


def refine(folder: Path, ranks: int) -> tuple[GeometryManifest, float]:
    """Refine the geometry of a run; return it and the time it took [s]."""
    path = folder / "geometry" / "geometry.json"
    files = ["--crystals", str(folder / "crystals.json"), "--geometry", str(path)]
    wall_s = run(ranks, "refgeom", *files, "--settings", RefgeomSettings().canonical())
    return GeometryManifest.read(path), wall_s


def one_round(folder: Path, ranks: int, true: Detector) -> dict[str, Any]:
    """Index and refine a run of spots; return the figures."""
    n_indexed, index_s = index(folder, ranks)
    manifest, refine_s = refine(folder, ranks)
    found = Detector.from_json(manifest.detector)
    errors = np.sqrt(np.mean(np.sum(ray_errors_px(found, true) ** 2, axis=2), axis=1))
    true_mm = distance_mm(true, Beam(WAVELENGTH_ANG))
    return {
        "indexed": n_indexed,
        "spots": manifest.n_spots,
        "spot_rms_px_before": round(manifest.rms_px_before["both"], 3),
        "spot_rms_px_after": round(manifest.rms_px_after["both"], 3),
        "distance_error_mm": round(manifest.distance_mm_after - true_mm, 4),
        "worst_panel_px": round(float(errors.max()), 4),
        "cycles": manifest.n_cycles,
        "index_s": round(index_s, 1),
        "refine_s": round(refine_s, 1),
        "rms_px_after": round(rms_px(found, true), 4),
    }


def main() -> None:
    """Print one line of JSON a round, and one for all at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crystals", type=int, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="index again in what was refined")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the runs and geometries")
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    detector = design()
    true = displaced(detector, rng)
    stills = take_stills(true, args.crystals, rng)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        for number in range(args.rounds):
            folder = (args.keep or Path(name)) / f"round{number + 1}"
            write_run(folder, detector, stills)
            before = round(rms_px(detector, true), 4)
            figures = {"round": number + 1, **one_round(folder, args.ranks, true)}
            print(json.dumps({**figures, "rms_px_before": before}))
            manifest = GeometryManifest.read(folder / "geometry" / "geometry.json")
            detector = Detector.from_json(manifest.detector)
    first = round(rms_px(design(), true), 3)
    print(json.dumps({"crystals": args.crystals, **figures, "rms_px_before": first}))


if __name__ == "__main__":
    main()
