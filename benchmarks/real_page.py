"""The page of real stills beside DIALS."""

from collections.abc import Mapping
from pathlib import Path

from xfel_apps.merge.settings import MergeSettings

HEAD = """# Real stills beside DIALS

Made by `make bench-real`: both programs on the same images in the same run, DIALS 3.12 by
`dials.stills_process` (cell and space group given; for the CSPAD what its own tests of such images
set, the gain of 25 for sigmas too: with less, its sigmas are too small where nothing is). As Debian
packages it, it looks for a compiled module of which nothing is used; an empty file of that name
lets it run.

- Thermolysin: 3 stills of LCLS, CSPAD, doi 10.1038/nmeth.2887.
- Thaumatin: 5 stills of a synchrotron, Pilatus 6M, large crystals of wide and uneven mosaic spread.

## Reflections with I/sigma above 3

| still | xfelflow | DIALS |
|---|---|---|
"""
TRUE = """
## Whether they are real

| | xfelflow | DIALS |
|---|---|---|
"""
NOTES = """
Where nothing is: the lattices turned about the beam by 11, 23, 37 and 53 degrees, integrated with
the spots' size, place and profile as the true ones show them, at least 15 pixels from every spot
found and from every reflection to twice the width of those predicted. Chance would be above 3 in
0.13 %. Nearer by, turned reflections meet the real ones. On the CSPAD, what is above 3 there is for
the most part a single noisy pixel at the middle of a sharp profile.

Merged are reflections of which at least {share:g} is recorded (`merge.min_partiality`); DIALS
integrates only those near the Ewald sphere. Agreement is the correlation of log intensities, of
xfelflow over the recorded share, after a scale and a fall-off of each still: with the structure
factors of 2TLI (thermolysin, what falls with resolution taken off), and between different stills
(thaumatin).
"""
NAMES = {"thermolysin_cspad": "thermolysin", "thaumatin_pilatus": "thaumatin"}

Programs = Mapping[str, Mapping[str, object]]


def write_page(path: Path, found: Mapping[str, Programs]) -> None:
    """Write the page in Markdown."""
    text = HEAD + "".join(_counts(NAMES[name], programs) for name, programs in found.items())
    text += TRUE + "".join(_truth(NAMES[name], programs) for name, programs in found.items())
    path.write_text(text + NOTES.format(share=MergeSettings().min_partiality))


def _counts(name: str, programs: Programs) -> str:
    """Return the rows of one set of stills: how many are clear."""
    columns = [programs[program]["clear"] for program in ("xfelflow", "DIALS")]
    rows = zip(*(column for column in columns if isinstance(column, list)), strict=True)
    return "".join(f"| {name} {i + 1} | {a} | {b} |\n" for i, (a, b) in enumerate(rows))


def _truth(name: str, programs: Programs) -> str:
    """Return the rows of one set of stills: whether what is clear is real."""
    rows = {
        "where nothing is: above 3 (of)": "{false_fraction:.2%} ({n_nothing})",
        "above 3 and merged": "{merged}",
        "their agreement": "{agreement:.3f}",
        "agreement, of what is above 3 in both (number)": "{agreement_both:.3f} ({n_both})",
        "processor time, all stages (s)": "{cpu_s:.0f}",
    }
    return "".join(
        f"| {name}, {label} | "
        + " | ".join(row.format(**programs[program]) for program in ("xfelflow", "DIALS"))
        + " |\n"
        for label, row in rows.items()
    )
