"""Lattices refined against their pixels: how each was before and after."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.refined import REFINED
from xfel_apps.plots.style import BLUE, INK, figure, grid, styled
from xfel_apps.report.tables import Table, seconds
from xfel_apps.report.trial import MergedData

CAPTION = (
    "Medians over lattices, before → after. Offset: of strong spots from where the model has them. "
    "σ-Z: rms distance of pixels from the model, in standard deviations. Gain: of the logarithm of "
    "the likelihood of a lattice's pixels by refining it."
)
DRAWN = (
    "Each point is a lattice, before and after its orientation, cell, block, spread and scale were "
    "refined against every pixel near its spots; below the line is better. Right: gain of the "
    "logarithm of the likelihood."
)


def of_merged(item: MergedData) -> pd.DataFrame:
    """Return one row a lattice that was refined from this merged data, and one a rejected shot.

    Of `RefinedCrystals`, with the run, the processor time of the shot and, of shots that were
    rejected, nothing else.
    """
    parts = []
    for path in sorted(item.folder.glob("*/refined.json")):
        _, reader = open_product(path, REFINED)
        shots, crystals = reader.shots(), reader.frame("crystals")
        reader.close()
        known = shots.loc[
            shots["outcome"].isin([Outcome.INTEGRATED, Outcome.FAILED]), ["cpu_s"]
        ].rename_axis("event")
        part = known.reset_index().merge(crystals, on="event", how="left")
        parts.append(part.assign(run=path.parent.name))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def table(rows: pd.DataFrame) -> Table:
    """Return what refining did, a row a run."""
    runs: Sequence[tuple[object, pd.DataFrame]] = list(rows.groupby("run"))
    columns = ("run <", "lattices", "shots rejected", "offset [pixel]", "σ-Z", "gain", "CPU a shot")
    return Table(columns, [_row(str(run), part) for run, part in runs], CAPTION)


def _row(run: str, part: pd.DataFrame) -> list[str]:
    done = part.dropna(subset="lattice")
    shots = part.drop_duplicates("event")
    gain = done["misfit_before"] - done["misfit_after"]
    return [
        run,
        f"{len(done):,}",
        f"{int(shots['lattice'].isna().sum()):,}",
        _change(done, "offset_px", "{:.3f}"),
        _change(done, "sigma_z", "{:.3f}"),
        f"{gain.median():,.1f}" if len(done) else "—",
        seconds(float(shots["cpu_s"].median())),
    ]


def _change(done: pd.DataFrame, name: str, form: str) -> str:
    pair = [float(done[f"{name}_{when}"].median()) for when in ("before", "after")]
    return " → ".join(form.format(value) if np.isfinite(value) else "—" for value in pair)


@styled
def draw(rows: pd.DataFrame) -> Figure:
    """Return offsets and sigma-Z before and after, and the gains of the likelihood."""
    done = rows.dropna(subset="lattice")
    result = figure(9.4, 2.9)
    offset, sigma_z, gain = result.subplots(1, 3)
    _scatter(offset, done, "offset_px", "offset of strong spots [pixel]")
    _scatter(sigma_z, done, "sigma_z", "σ-Z")
    values = np.maximum((done["misfit_before"] - done["misfit_after"]).to_numpy(float), 1e-2)
    edges = np.geomspace(values.min(initial=1.0), 1.01 * values.max(initial=10.0), 25)
    gain.hist(values, bins=edges.tolist(), color=BLUE)
    gain.set_xscale("log")
    gain.set_xlabel("gain of log likelihood")
    gain.set_ylabel("lattices")
    grid(gain)
    return result


def _scatter(axes: Axes, done: pd.DataFrame, name: str, label: str) -> None:
    pair: Mapping[str, pd.Series[float]] = {
        when: done[f"{name}_{when}"].astype(float) for when in ("before", "after")
    }
    axes.scatter(pair["before"], pair["after"], s=6.0, color=BLUE, linewidths=0)
    whole = np.concatenate([item.to_numpy() for item in pair.values()])
    whole = whole[np.isfinite(whole)]
    ends = (float(whole.min()), float(whole.max())) if len(whole) else (0.0, 1.0)
    axes.plot(ends, ends, color=INK, linewidth=0.6)
    axes.set_xlabel(f"{label}, before")
    axes.set_ylabel("after")
    grid(axes)
