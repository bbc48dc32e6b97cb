"""Statistics of merged data: table by shell."""

from collections.abc import Mapping, Sequence
from typing import Any

from xfel_apps.report.tables import Table

COLUMNS = (
    ("unique", "n_unique", "{:,.0f}"),
    ("possible", "n_possible", "{:,.0f}"),
    ("completeness", "completeness", "{:.1%}"),
    ("observations", "n_observations", "{:,.0f}"),
    ("multiplicity", "multiplicity", "{:.1f}"),
    ("I/σ", "mean_i_over_sigma", "{:.2f}"),
    ("CC½", "cc_half", "{:.3f}"),
    ("CC*", "cc_star", "{:.3f}"),
    ("Rsplit", "r_split", "{:.1%}"),
    ("χ²", "chi_square", "{:.2f}"),
    ("CC anom", "cc_anom", "{:.3f}"),
    ("CC ref", "cc_reference", "{:.3f}"),
)


def shell_table(statistics: Mapping[str, Any]) -> Table:
    """Return the statistics by shell, with those overall as the last row."""
    shells: Sequence[Mapping[str, Any]] = statistics["shells"]
    known = [item for item in COLUMNS if any(shell.get(item[1]) is not None for shell in shells)]
    overall = statistics["overall"]
    return Table(
        ["d [Å] <", *(name for name, _, _ in known)],
        [_row(shell, known) for shell in shells],
        "Shells of equal volume. I/σ is of merged intensities; CC½ and Rsplit compare halves of "
        "the crystals; χ² is the mean square distance of repeated observations from their means in "
        "sigmas, 1 if sigmas are right.",
        _row(overall, known),
    )


def resolution(statistics: Mapping[str, Any]) -> str:
    """Return in words where the data end; empty for data merged before this was told."""
    return f"Resolution: {found}." if (found := statistics.get("resolution_limit", "")) else ""


def _row(shell: Mapping[str, Any], columns: Sequence[tuple[str, str, str]]) -> list[str]:
    limits = f"{shell['d_max_ang']:.2f} – {shell['d_min_ang']:.2f}"
    return [limits, *(_cell(shell.get(key), form) for _, key, form in columns)]


def _cell(value: float | None, form: str) -> str:
    return "—" if value is None else form.format(value).replace("%", " %")
