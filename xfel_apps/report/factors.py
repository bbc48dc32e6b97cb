"""Structure factors refined against every pixel, beside the merge that they started from."""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.report.tables import Table
from xfel_apps.report.trial import MergedData

CAPTION = (
    "Merged → refined. CC½ is over the reflections that each half measured well enough by itself. "
    "Sigmas are from the curvature of the likelihood of all pixels."
)
COMPARED = " CC ref is with the reference, over the reflections that both have."
DRAWN = "Likelihood of all pixels and correlations by iteration; correlations by resolution."

COLUMNS = (
    ("unique", "n_unique", "{:,.0f}"),
    ("I/σ", "mean_i_over_sigma", "{:.2f}"),
    ("CC½", "cc_half", "{:.3f}"),
    ("CC anom", "cc_anom", "{:.3f}"),
)


def of_merged(item: MergedData) -> FactorsManifest | None:
    """Return the structure factors that were refined from this merged data; None if none were."""
    path = item.folder / "factors.json"
    return FactorsManifest.read(path) if path.is_file() else None


def table(manifest: FactorsManifest) -> Table:
    """Return statistics before and after by shell, those overall as the last row."""
    shells = manifest.statistics["shells"]
    known = [item for item in COLUMNS if any(shell.get(item[1]) is not None for shell in shells)]
    overall, *rows = _rows(manifest, known)
    heads = [name for name, _, _ in known]
    heads += ["CC ref"] if manifest.compared else []
    caption = CAPTION + (COMPARED if manifest.compared else "")
    return Table(["d [Å] <", *heads], rows, caption, overall)


def summary(manifest: FactorsManifest) -> str:
    """Return one sentence: what was used, and the errors of the spots' model that were found."""
    used = manifest.n_lattices - len(manifest.rejected)
    on, off, far = (100.0 * value for value in manifest.model_error)
    return (
        f"{used} of {manifest.n_lattices} lattices, {len(manifest.iterations)} iterations. Photons "
        f"of a spot are predicted to {on:.0f} % on the Ewald sphere, and to {off:.0f} % more for "
        f"each width off it and {far:.0f} % for its square."
    )


def _rows(manifest: FactorsManifest, known: list[tuple[str, str, str]]) -> Iterator[list[str]]:
    new, old = (
        [stats["overall"], *stats["shells"]] if stats else []
        for stats in (manifest.statistics, manifest.merged_statistics)
    )
    for now, before, against in zip_longest(new, old[: len(new)], manifest.compared[: len(new)]):
        limits = f"{now['d_max_ang']:.2f} – {now['d_min_ang']:.2f}"
        cells = [_change(before or {}, now, key, form) for _, key, form in known]
        if against:
            pair = {"cc": against["cc_merged"]}, {"cc": against["cc_refined"]}
            cells.append(_change(*pair, "cc", "{:.4f}"))
        yield [limits, *cells]


def _change(before: Mapping[str, Any], now: Mapping[str, Any], key: str, form: str) -> str:
    values = [item.get(key) for item in (before, now)]
    return " → ".join("—" if value is None else form.format(value) for value in values)
