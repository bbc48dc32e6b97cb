"""The demo's result against the truth, as lines of text."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xfel_apps.compare.intensities import agreement, read_mtz
from xfel_apps.compare.products import lattices
from xfel_apps.compare.truth import LatticeScore, Truth, score_lattices
from xfel_apps.containers.refined import REFINED


def comparison(truth_file: Path, trial: Path, run: str, d_min_ang: float) -> Iterator[str]:
    """Yield what was found of what was simulated, a line each.

    Parameters
    ----------
    truth_file : written by `simulate`
    trial, run : folder of the trial, and its run whose shots lie in one raw file
    d_min_ang : resolution to which the run was merged [Angstrom]
    """
    truth = Truth.read(truth_file)
    found = lattices(trial / run / "events.json", trial / run / "crystals.json")
    yield "compared with the truth:"
    yield from _lattice_lines(score_lattices(found, truth))
    for mtz in sorted(trial.glob("datasets/*/v*/merged.mtz")):
        whole = agreement(read_mtz(mtz), truth.intensities, truth.cell, (np.inf, d_min_ang))
        yield (
            f"  merged to {d_min_ang:g} A      {whole.n_merged} of {whole.n_unique} "
            f"unique reflections ({whole.fraction:.1%})"
        )
        yield f"  CC of merged I       {whole.cc:.3f} with the true I: {mtz}"
    for refined in sorted(trial.glob(f"datasets/*/v*/{run}/refined.json")):
        found = lattices(trial / run / "events.json", refined, REFINED)
        yield f"refined against every pixel: {refined}"
        yield from _error_lines(score_lattices(found, truth))
    for mtz in sorted(trial.glob("datasets/*/v*/refined.mtz")):
        both = [read_mtz(path) for path in (mtz.with_name("merged.mtz"), mtz)]
        common = both[0].index.intersection(both[1].index)
        before, after = (
            agreement(one[common], truth.intensities, truth.cell, (np.inf, d_min_ang)).cc
            for one in both
        )
        yield (
            f"  CC of refined I      {after:.4f} with the true I, over the {len(common)} that were "
            f"merged too ({before:.4f}): {mtz}"
        )


def _lattice_lines(score: LatticeScore) -> Iterator[str]:
    share = score.hits_indexed / score.hits if score.hits else 0.0
    yield (
        f"  hits indexed         {score.hits_indexed} of {score.hits} ({share:.1%}); "
        f"weak shots: {score.weak_indexed} of {score.weak}"
    )
    yield (
        f"  false lattices       {score.false_lattices}; "
        f"blanks indexed: {score.blanks_indexed} of {score.blanks}"
    )
    yield from _error_lines(score)


def _error_lines(score: LatticeScore) -> Iterator[str]:
    yield (
        f"  orientation error    median {score.orientation_deg_median:.3f}, "
        f"90 % below {score.orientation_deg_p90:.3f} degrees"
    )
    yield (
        f"  cell error           median {score.cell_a_percent_median:.3f} % of a, "
        f"{score.cell_c_percent_median:.3f} % of c"
    )
