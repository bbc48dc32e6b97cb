"""The page that says how xfelflow compares with the peers."""

from pathlib import Path

import pandas as pd

from benchmarks.peer_merge import MergeScore
from xfel_apps.intensities.agreement import cc_star

HEAD = """# Beside DIALS and CrystFEL

Made by `make bench-peers` (130 stills simulated by nanoBragg: 72 hits, 26 weak, 32 blanks; the data
are not part of this repository, see `XFELFLOW_DATA`). All columns come from the same code, which
compares what the programs wrote with the truth behind the images. What is marked as quoted was
measured when the peers' files were made: DIALS 3.12 with cctbx.xfel.merge (no scaling), CrystFEL
0.11.1 with xgandalf and process_hkl. No program was tuned, and no reference with truth in it was
used by xfelflow.
"""
MERGES = """## The peers' other merges

Of the same crystals to 2.3 Å, all figures quoted. The two strict ones keep what they measured best;
the rows "best measured" above are ours over as many.
"""
STRICT = """\
The best measured are those whose merged intensity would have the smallest standard error if
it were the mean intensity at its resolution, which looks neither at the truth nor at the intensity
found: {limits}.
"""
TWICE = """\
partialator and cctbx.xfel.merge leave out of each half what it has not seen twice: the row "seen
twice in each half" does so too.

Spots of this simulation are narrower than its pixels, which it samples at their centres, so that
what is recorded of a reflection depends on where in its pixel it lies: by {fast:.0%} along fast and
{slow:.0%} along slow, as merging finds from the observations alone and corrects
(`merge.fit_modulation`).
"""
CC_STAR = """\
CC* = sqrt(2 CC1/2 / (1 + CC1/2)) is the CC with the truth that CC1/2 lets expect (Karplus &
Diederichs 2012): {ours:.3f} of the best measured 39% here, where {found:.3f} is found. The 0.987 of
partialator lets expect 0.997, where 0.974 is found: its halves share errors, and are nearer to each
other than to the truth.
"""
SHELLS = """## By shell, beside the unscaled average

CC with the true intensities of what xfelflow merged, and of the plain average of the same
observations (no scales, no partialities, nothing rejected) over the same reflections.
"""
BINS = """## Whether sigmas are right

In bins of merged intensity, weak to strong: χ² of repeated observations about their means (1 if
sigmas are right), and the rms distance of merged intensities from the truth in units of their
sigmas (1 if right; the truth scaled by shell).
"""


def write_page(
    path: Path, table: pd.DataFrame, merges: pd.DataFrame, detail: MergeScore, leak: str
) -> None:
    """Write the page in Markdown."""
    shells = detail.shells.set_axis(["d [Å]", "merged", "CC", "CC unscaled"], axis=1)
    bins = detail.bins.set_axis(
        ["mean I/σ", "χ² of repeats", "rms distance from truth [σ]"], axis=1
    )
    said = " and ".join(
        f"`merge.max_relative_sigma={limit:.3g}` leaves {share:.0%}"
        for share, limit in detail.strict["limit"].items()
    )
    strict = detail.strict.iloc[-1]
    parts = [
        HEAD,
        markdown(table.rename_axis("").reset_index()),
        STRICT.format(limits=said),
        TWICE.format(fast=detail.modulation[0], slow=detail.modulation[1]),
        MERGES,
        markdown(merges.reset_index()),
        f"{leak}\n",
        CC_STAR.format(ours=cc_star(strict["cc_half"]), found=strict["cc"]),
        SHELLS,
        markdown(shells.round(3)),
        BINS,
        markdown(bins.round(2)),
    ]
    path.write_text("\n".join(parts))


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown.

    >>> print(markdown(pd.DataFrame({"a": [1], "b": ["x"]})))
    | a | b |
    |---|---|
    | 1 | x |
    <BLANKLINE>
    """
    lines = [list(map(str, table.columns)), *table.astype(str).to_numpy().tolist()]
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    rows.insert(1, "|" + "---|" * len(table.columns))
    return "\n".join(rows) + "\n"
