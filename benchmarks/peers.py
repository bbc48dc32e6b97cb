"""Accuracy on stills that another group's program simulated, beside DIALS and CrystFEL.

Runs every stage on `nanobragg_lysozyme/lyso130.h5` on two ranks and compares with its truth, as is
done with the peers' own files on the same images. What those files do not hold is quoted from
when they were made: DIALS 3.12 with cctbx.xfel.merge of cctbx 2022, CrystFEL 0.11.1. The whole
comparison is written to `docs/reference/peers.md`.
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
from benchmarks.peer_merge import MergeScore, score
from benchmarks.peer_page import write_page
from xfel_apps.compare.intensities import agreement, read_mtz, shell_limits
from xfel_apps.compare.products import lattices
from xfel_apps.compare.truth import LatticeScore, Truth, score_lattices
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.process import Request, process

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "peers.md"
D_MIN_ANG = 2.3
N_SHELLS = 8
RANKS = 2
QUOTED = {
    "DIALS + cctbx": {"CC1/2": 0.836, "Rsplit": 0.49},
    "CrystFEL": {"CC1/2": 0.774, "Rsplit": math.nan},
}
"""Statistics of the merges whose files are read (cctbx.xfel.merge without scaling, process_hkl)."""
QUOTED_MERGES = pd.DataFrame(
    [
        ["cctbx.xfel.merge, rs2 (*)", "2077 (36%)", "0.976", "0.992", "0.215"],
        ["CrystFEL partialator unity", "4218 (73%)", "0.904", "0.782", "0.56"],
        ["CrystFEL partialator xsphere, 3 rounds", "2265 (39%)", "0.974", "0.987", "0.21"],
    ],
    columns=["merge (quoted)", "merged", "CC to truth", "CC1/2", "Rsplit"],
).set_index("merge (quoted)")
"""Merges of the same crystals to 2.3 A whose files are not at hand."""
LEAK = "(*) with a reference made of the truth plus 25 % noise"


@dataclass(frozen=True)
class Result:
    """What one program made of the run.

    Attributes
    ----------
    score : of its lattices
    merged : its intensities by Miller index
    cc_half, r_split : of its merged intensities
    detail : of subsets, shells and sigmas; None where only merged intensities are at hand
    """

    score: LatticeScore
    merged: "pd.Series[float]"
    cc_half: float
    r_split: float
    detail: MergeScore | None = None


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
    detail = score(out / "run" / "reflections.json", truth, settings["merge"])
    return Result(
        score_lattices(found, truth),
        merged,
        float(overall["cc_half"]),
        float(overall["r_split"]),
        detail,
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


def table(results: dict[str, Result], truth: Truth) -> pd.DataFrame:
    """Return the comparison, a column a program."""
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
    return pd.DataFrame(columns).fillna("-")


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
    return {
        "hits indexed": f"{score.hits_indexed} of {score.hits}",
        "weak indexed": f"{score.weak_indexed} of {score.weak}",
        "blanks indexed": f"{score.blanks_indexed} of {score.blanks}",
        "lattices that are false": str(score.false_lattices),
        "orientation error, median / p90 / max (degrees)": angles(score),
        "cell error, median a / c (%)": (
            f"{score.cell_a_percent_median:.4f} / {score.cell_c_percent_median:.4f}"
        ),
        f"merged to {D_MIN_ANG} A": f"{whole.n_merged} of {whole.n_unique} ({whole.fraction:.0%})",
        "CC1/2 (peers: quoted)": number(result.cc_half),
        "Rsplit (peers: quoted)": number(result.r_split),
        "CC to truth, each over its own": number(whole.cc),
        **detail_rows(result.detail),
    }


def detail_rows(detail: MergeScore | None) -> dict[str, str]:
    """Return the rows that only the program's own results tell."""
    if detail is None:
        return {}
    rows = {
        f"the best measured {share:.0%}: CC to truth, CC1/2, Rsplit": ", ".join(
            number(row[name]) for name in ("cc", "cc_half", "r_split")
        )
        for share, row in detail.strict.iterrows()
    }
    twice = f"of these {detail.twice['n']:.0f} seen twice in each half: CC1/2, Rsplit"
    rows[twice] = f"{number(detail.twice['cc_half'])}, {number(detail.twice['r_split'])}"
    return {"orientation error after merging (degrees)": angles(detail.post_refined), **rows}


def angles(score: LatticeScore) -> str:
    """Return median, 90th percentile and largest of the orientation errors."""
    three = (score.orientation_deg_median, score.orientation_deg_p90, score.orientation_deg_max)
    return " / ".join(f"{angle:.3f}" for angle in three)


def number(value: float) -> str:
    """Return three decimals, or a dash where there is no number."""
    return "-" if math.isnan(value) else f"{value:.3f}"


def figures(result: Result, truth: Truth) -> dict[str, object]:
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
        **detailed(result.detail),
    }


def detailed(detail: MergeScore | None) -> dict[str, object]:
    """Return the figures of subsets, shells and sigmas."""
    if detail is None:
        return {}
    return {
        "orientation_deg_median_merged": round(detail.post_refined.orientation_deg_median, 4),
        "orientation_deg_p90_merged": round(detail.post_refined.orientation_deg_p90, 4),
        "cc_strict": round(float(detail.strict["cc"].min()), 4),
        "cc_half_strict": round(float(detail.strict["cc_half"].min()), 4),
        "r_split_strict": round(float(detail.strict["r_split"].max()), 4),
        "cc_half_twice": round(float(detail.twice["cc_half"]), 4),
        "r_split_twice": round(float(detail.twice["r_split"]), 4),
        "cc_shells": detail.shells["cc"].round(3).tolist(),
        "cc_shells_unscaled": detail.shells["cc_unscaled"].round(3).tolist(),
        "shell_gain_worst": round(detail.worst_gain, 4),
        "chi_square_min": round(float(detail.bins["chi_square"].min()), 2),
        "chi_square_max": round(float(detail.bins["chi_square"].max()), 2),
        "off_truth_max": round(float(detail.bins["off_truth"].max()), 2),
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
    whole = table({"xfelflow": mine, **theirs(data / "peers", truth)}, truth)
    write_page(PAGE, whole, QUOTED_MERGES, mine.detail, LEAK)
    print(whole.to_string(), QUOTED_MERGES.to_string(), LEAK, sep="\n\n")
    print(mine.detail.shells.to_string(), mine.detail.bins.to_string(), sep="\n\n")
    print(json.dumps(figures(mine, truth)))


if __name__ == "__main__":
    main()
