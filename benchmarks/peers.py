"""Accuracy on stills that another group's program simulated, beside DIALS and CrystFEL.

Runs every stage on `nanobragg_lysozyme/lyso130.h5` on two ranks and compares with its truth, as is
done with the peers' own files on the same images. What those files do not hold is quoted from
when they were made: DIALS 3.12 with cctbx.xfel.merge of cctbx 2022, CrystFEL 0.11.1.
"""

import argparse
import json
import math
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from benchmarks.data import data_folder
from benchmarks.peer_files import read_expt, read_hkl, read_stream
from xfel_apps.compare.intensities import agreement, read_mtz, shell_limits
from xfel_apps.compare.products import lattices
from xfel_apps.compare.truth import LatticeScore, Truth, score_lattices
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.process import Request, process

D_MIN_ANG = 2.3
N_SHELLS = 8
RANKS = 2
QUOTED = {
    "DIALS + cctbx": {"CC1/2": 0.836, "Rsplit": 0.49},
    "CrystFEL": {"CC1/2": 0.774, "Rsplit": math.nan},
}
"""Statistics of the merges whose files are read (cctbx.xfel.merge without scaling, process_hkl)."""
QUOTED_MERGES = """other merges of the same crystals to 2.3 A, quoted:
  cctbx.xfel.merge, rs2 (*)               2077 merged  CC 0.976  CC1/2 0.992  Rsplit 0.215
  CrystFEL partialator unity              4218 merged  CC 0.904  CC1/2 0.782  Rsplit 0.56
  CrystFEL partialator xsphere, 3 rounds  2265 merged  CC 0.974  CC1/2 0.987  Rsplit 0.21
  (*) with the truth plus 25 % noise as reference"""


@dataclass(frozen=True)
class Result:
    """What one program made of the run.

    Attributes
    ----------
    score : of its lattices
    merged : its intensities by Miller index
    cc_half, r_split : of its merged intensities
    """

    score: LatticeScore
    merged: "pd.Series[float]"
    cc_half: float
    r_split: float


def ours(data: Path, truth: Truth, out: Path) -> Result:
    """Run every stage and return what came out."""
    settings = {
        "index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"},
        "merge": {"d_min_ang": D_MIN_ANG},
    }
    process(Request([str(data / "lyso130.h5")], out, RANKS, True, settings))
    manifest = MergedManifest.read(next(out.glob("datasets/*/v*/merged.json")))
    overall = manifest.statistics["overall"]
    found = lattices(out / "run" / "events.json", out / "run" / "crystals.json")
    merged = read_mtz(next(out.glob("datasets/*/v*/merged.mtz")))
    return Result(
        score_lattices(found, truth), merged, float(overall["cc_half"]), float(overall["r_split"])
    )


def theirs(peers: Path, truth: Truth) -> dict[str, Result]:
    """Return what the peers' files hold."""
    dials = read_expt(sorted(peers.glob("idx-*_integrated.expt")))
    crystfel = read_stream(peers / "xg.stream")
    merged = {
        "DIALS + cctbx": read_mtz(peers / "xfel_merge_mark1_all.mtz"),
        "CrystFEL": read_hkl(peers / "mc.hkl", truth.space_group),
    }
    return {
        name: Result(score_lattices(found, truth), merged[name], *QUOTED[name].values())
        for name, found in {"DIALS + cctbx": dials, "CrystFEL": crystfel}.items()
    }


def table(results: dict[str, Result], truth: Truth) -> str:
    """Return the table that is printed."""
    columns = {name: column(result, truth) for name, result in results.items()}
    common = common_set(results, truth)
    for name, result in results.items():
        columns[name][f"CC to truth, the {len(common)} that all have"] = number(
            agreement(result.merged[common], truth.intensities, truth.cell, (1e9, D_MIN_ANG)).cc
        )
    for limits in shell_limits(truth.intensities, truth.cell, D_MIN_ANG, N_SHELLS):
        for name, result in results.items():
            found = agreement(result.merged, truth.intensities, truth.cell, limits)
            label = f"  {min(limits[0], 99.9):5.2f} - {limits[1]:4.2f} A: merged, CC"
            columns[name][label] = f"{found.n_merged:4d} of {found.n_unique}, {number(found.cc)}"
    return pd.DataFrame(columns).to_string()


def common_set(results: dict[str, Result], truth: Truth) -> "pd.Index[int]":
    """Return the Miller indices that every program merged, to the resolution limit."""
    d_ang = truth.cell.calculate_d_array(truth.intensities.index.to_frame().to_numpy("i4"))
    common: pd.Index[int] = truth.intensities.index[d_ang >= D_MIN_ANG]
    for result in results.values():
        common = common.intersection(result.merged.index)
    return common


def column(result: Result, truth: Truth) -> dict[str, str]:
    """Return one program's column of the table."""
    score = result.score
    whole = agreement(result.merged, truth.intensities, truth.cell, (1e9, D_MIN_ANG))
    angles = (score.orientation_deg_median, score.orientation_deg_p90, score.orientation_deg_max)
    return {
        "hits indexed": f"{score.hits_indexed} of {score.hits}",
        "weak indexed": f"{score.weak_indexed} of {score.weak}",
        "blanks indexed": f"{score.blanks_indexed} of {score.blanks}",
        "lattices that are false": str(score.false_lattices),
        "orientation error, median / p90 / max (degrees)": " / ".join(f"{a:.3f}" for a in angles),
        "cell error, median a / c (%)": (
            f"{score.cell_a_percent_median:.4f} / {score.cell_c_percent_median:.4f}"
        ),
        f"merged to {D_MIN_ANG} A": f"{whole.n_merged} of {whole.n_unique} ({whole.fraction:.0%})",
        "CC1/2 (peers: quoted)": number(result.cc_half),
        "Rsplit (peers: quoted)": number(result.r_split),
        "CC to truth, each over its own": number(whole.cc),
    }


def number(value: float) -> str:
    """Return three decimals, or a dash where there is no number."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def figures(result: Result, truth: Truth) -> dict[str, float]:
    """Return the figures of the last line."""
    whole = agreement(result.merged, truth.intensities, truth.cell, (1e9, D_MIN_ANG))
    score = result.score
    return {
        "hits_indexed": score.hits_indexed,
        "weak_indexed": score.weak_indexed,
        "blanks_indexed": score.blanks_indexed,
        "orientation_deg_median": round(score.orientation_deg_median, 4),
        "orientation_deg_p90": round(score.orientation_deg_p90, 4),
        "cell_a_percent_median": round(score.cell_a_percent_median, 4),
        "cell_c_percent_median": round(score.cell_c_percent_median, 4),
        "merged_fraction": round(whole.fraction, 4),
        "cc_true": round(whole.cc, 4),
        "cc_half": round(result.cc_half, 4),
        "r_split": round(result.r_split, 4),
    }


def main() -> None:
    """Print the table, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="keep what is written in this folder")
    args = parser.parse_args()
    data = data_folder("nanobragg_lysozyme")
    truth = Truth.read(data / "truth.h5")
    with tempfile.TemporaryDirectory() as scratch:
        mine = ours(data, truth, args.out or Path(scratch) / "peers")
    print(table({"xfelflow": mine, **theirs(data / "peers", truth)}, truth))
    print(QUOTED_MERGES)
    print(json.dumps(figures(mine, truth)))


if __name__ == "__main__":
    main()
