"""What each preset of settings, and each of its changes by itself, costs and gains.

Runs every stage with the preset `final`, with `live`, and with `final` but for one change of
`live` at a time, on stills that nanoBragg simulated and on shots that xfelflow simulates, and
compares with the truth. Writes the table to docs/reference/presets.md.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.data import find_data
from benchmarks.stages import PRODUCTS
from xfel_apps import mpi
from xfel_apps.compare.intensities import agreement, read_mtz
from xfel_apps.compare.products import lattices
from xfel_apps.compare.truth import Truth, score_lattices
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.launch import launch
from xfel_apps.merge.settings import MergeSettings
from xfel_apps.presets import PRESETS
from xfel_apps.process import Request, process
from xfel_apps.simulate import SimulateSettings, simulate

D_MIN_ANG = 2.3
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "presets.md"
LYSOZYME = {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}
TEXT = """<!-- made by `make bench-presets`; change the code, not this page -->
# Presets

`preset: live` in an experiment file (or `--set preset=live`) changes these defaults, which are
those of `preset: final`:

{changes}

What they cost and gain, all at once and one at a time, by the truth of simulated stills ({where}):

{table}

Processor time on one core: milliseconds a shot, mean over all shots; seconds of merging in all.
CC and CC1/2 are those of intensities to {d_min} Å, each over the reflections that these settings
merge.

On these shots, of one crystal each, fewer tries and lattices change nothing; what they cost and
gain on shots of several crystals and of many false spots is in
[trust a lattice](../how-to/trust-a-lattice.md).
"""


@dataclass(frozen=True)
class Run:
    """Raw data with their truth."""

    name: str
    raw: Path
    truth: Truth


def runs(folder: Path, shots: int) -> Iterator[Run]:
    """Yield what the presets are tried on."""
    data = find_data("nanobragg_lysozyme")
    if data is not None:
        yield Run("nanoBragg", data / "lyso130.h5", Truth.read(data / "truth.h5"))
    raw = simulate(SimulateSettings.checked({"shots": shots}), folder, mpi.serial())
    yield Run("xfelflow's", raw, Truth.read(folder / "truth.h5"))


def variants() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the settings of each row of the table."""
    yield "final", {"preset": "final"}
    for section, changes in PRESETS["live"].items():
        for key, value in changes.items():
            yield f"final but {section}.{key}: {json.dumps(value)}", {section: {key: value}}
    yield "live", {"preset": "live"}


def measure(run: Run, settings: dict[str, Any], out: Path) -> dict[str, float]:
    """Run every stage with these settings; return what came out and what it took."""
    data = {**settings}
    data["index"] = {**LYSOZYME, **data.get("index", {})}
    data["merge"] = {"d_min_ang": D_MIN_ANG, **data.get("merge", {})}
    request = Request([str(run.raw)], out, 1, False, data)
    process(request)
    score = score_lattices(
        lattices(out / "run" / "events.json", out / "run" / "crystals.json"), run.truth
    )
    merge_s = merge(out, request.experiment().merge)
    merged = MergedManifest.read(out / "merged.json")
    found = agreement(
        read_mtz(out / "merged.mtz"), run.truth.intensities, run.truth.cell, (1e9, D_MIN_ANG)
    )
    return {
        "hits": score.hits_indexed,
        "weak": score.weak_indexed,
        "blanks": score.blanks_indexed,
        "orientation [deg]": round(score.orientation_deg_median, 4),
        "merged": round(found.fraction, 3),
        "CC to truth": round(found.cc, 4),
        "CC1/2": round(float(merged.statistics["overall"]["cc_half"]), 4),
        **cpu_ms(out),
        "merge [s]": merge_s,
    }


def merge(out: Path, settings: MergeSettings) -> float:
    """Merge a run in this process; return the CPU time that it took [s]."""
    start_s = time.process_time()
    files = ["--reflections", str(out / "run" / "reflections.json")]
    files += ["--merged", str(out / "merged.json"), "--key", "benchmark"]
    launch("merge", [*files, "--settings", settings.canonical()], hands_out=False)
    return round(time.process_time() - start_s, 2)


def cpu_ms(out: Path) -> dict[str, float]:
    """Return what each per-shot stage took a shot, the first left out (it loads what it needs)."""
    taken = {}
    for stage, product in PRODUCTS.items():
        _, reader = open_product(out / "run" / f"{product.name}.json", product)
        taken[f"{stage} [ms]"] = round(1e3 * float(reader.shots()["cpu_s"].iloc[1:].mean()), 1)
        reader.close()
    return taken


def page(table: pd.DataFrame, where: str) -> str:
    """Return the page of the reference."""
    changes = "\n".join(
        f"- `{section}.{key}: {json.dumps(value)}`"
        for section, values in PRESETS["live"].items()
        for key, value in values.items()
    )
    lines = ["| data | settings | " + " | ".join(table.columns) + " |"]
    lines.append("|---" * (2 + len(table.columns)) + "|")
    for (name, variant), row in zip(table.index, table.to_numpy(object), strict=True):
        cells = (f"{value:g}" for value in row)
        lines.append(f"| {name} | {variant} | " + " | ".join(cells) + " |")
    return TEXT.format(changes=changes, where=where, table="\n".join(lines), d_min=D_MIN_ANG)


def main() -> None:
    """Print the table, write the page, then print one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=200, help="shots that are simulated")
    args = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for run in runs(folder / "raw", args.shots):
            for number, (name, settings) in enumerate(variants()):
                out = folder / run.raw.stem / str(number)
                rows[run.name, name] = measure(run, settings, out)
    table = pd.DataFrame.from_dict(rows, orient="index")
    print(table.to_string())
    where = f"`make bench-presets`: nanoBragg's 130, and {args.shots} that xfelflow makes"
    PAGE.write_text(page(table, where))
    of = {name: table.xs(name, level=1).iloc[0] for name in ("final", "live")}
    print(
        json.dumps(
            {
                f"{name}_{key}": float(of[name][column])
                for name in of
                for key, column in (
                    ("hits_indexed", "hits"),
                    ("weak_indexed", "weak"),
                    ("cc_true", "CC to truth"),
                )
            }
            | {
                f"{name}_cpu_ms": round(
                    float(of[name][[c for c in table.columns if "[ms]" in c]].sum()), 1
                )
                for name in of
            }
        )
    )


if __name__ == "__main__":
    main()
