"""What DIALS and CrystFEL integrated, merged by us beside our own; the time of a million rows.

Both integrated the simulated stills of `nanobragg_lysozyme`; their files are imported and merged
with the same settings as what our stages make of the same images. Then a run with a million
reflections is exported and imported.
"""

import argparse
import json
import re
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from benchmarks.data import data_folder
from xfel_apps.compare.intensities import agreement, read_mtz
from xfel_apps.compare.truth import Truth
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.interchange import export, load
from xfel_apps.merge.__main__ import main as merge
from xfel_apps.mpi import serial
from xfel_apps.process import Request, process

D_MIN_ANG = 2.3
INDEX = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}
ROWS = 1_000_000
GIB = 2**20


def merged(reflections: Path, truth: Truth) -> dict[str, float]:
    """Merge the reflections of a run; return how the result agrees with the truth."""
    path = reflections.parent / "merged" / "merged.json"
    argv = ["--reflections", str(reflections), "--merged", str(path)]
    merge([*argv, "--settings", json.dumps({"d_min_ang": D_MIN_ANG})], serial())
    manifest = MergedManifest.read(path)
    found = read_mtz(path.with_suffix(".mtz"))
    result = agreement(found, truth.intensities, truth.cell, (1e9, D_MIN_ANG))
    return {
        "crystals": manifest.crystals["used"],
        "observations": manifest.n_observations,
        "merged": result.n_merged,
        "of": result.n_unique,
        "CC to truth": round(result.cc, 4),
        "CC1/2": round(manifest.statistics["overall"]["cc_half"], 4),
        "Rsplit": round(manifest.statistics["overall"]["r_split"], 4),
    }


def comparison(data: Path, out: Path) -> dict[str, dict[str, float]]:
    """Return what merging makes of each program's reflections."""
    truth = Truth.read(data / "truth.h5")
    peers = data / "peers"
    load(sorted(peers.glob("idx-*_integrated.*")), out / "dials")
    load([peers / "xg.stream"], out / "crystfel", "P43212")
    process(Request([str(data / "lyso130.h5")], out / "ours", 1, False, {"index": INDEX}))
    runs = {"DIALS": "dials", "CrystFEL": "crystfel", "xfelflow": "ours/run"}
    return {name: merged(out / folder / "reflections.json", truth) for name, folder in runs.items()}


def many_shots(stream: Path, target: Path, n_rows: int) -> int:
    """Write the shots of a stream again and again, as other frames, to `n_rows` reflections."""
    text = stream.read_text()
    start = text.index("----- Begin chunk")
    header, body = text[:start], text[start:]
    n_shots = body.count("----- Begin chunk")
    each = sum(int(n) for n in re.findall(r"num_reflections = (\d+)", body))
    times = -(-n_rows // each)
    with target.open("w") as file:
        file.write(header)
        for number in range(times):
            shift = number * n_shots
            file.write(re.sub(r"(?<=Event: //)\d+", lambda m, by=shift: str(int(m[0]) + by), body))
    return times * each


def timed(steps: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Run steps; return the processor time of each [s]."""
    result = {}
    for name, step in steps.items():
        start_s = time.process_time()
        step()
        result[name] = round(time.process_time() - start_s, 1)
    return result


def large(out: Path) -> dict[str, float]:
    """Export and import a run with a million reflections; return times and the memory's peak."""
    export([out / "ours" / "run"], "crystfel", out / "ours.stream")
    n_rows = many_shots(out / "ours.stream", out / "many.stream", ROWS)
    run = out / "many"
    seconds = timed(
        {
            "import_stream_cpu_s": lambda: load([out / "many.stream"], run),
            "export_dials_cpu_s": lambda: export([run], "dials", out / "refl"),
            "export_stream_cpu_s": lambda: export([run], "crystfel", out / "again.stream"),
            "import_dials_cpu_s": lambda: load(sorted((out / "refl").iterdir()), out / "back"),
        }
    )
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB
    return {"rows": n_rows, **seconds, "peak_gib": round(peak_gib, 2)}


def main() -> None:
    """Print the table, then one line of JSON."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch)
        found = comparison(data_folder("nanobragg_lysozyme"), out)
        times = large(out)
    print(pd.DataFrame(found).T.to_string())
    ccs = {f"cc_true_{name.lower()}": row["CC to truth"] for name, row in found.items()}
    print(json.dumps({**ccs, **times}))


if __name__ == "__main__":
    main()
