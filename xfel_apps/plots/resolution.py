"""How far out shots and lattices go: histograms of resolution, evenly binned in 1/d."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import readable_parts
from xfel_apps.containers.results import LIVE, RunResults
from xfel_apps.containers.spots import SPOTS
from xfel_apps.plots.chart import Chart, numbers
from xfel_apps.plots.histograms import above, nothing
from xfel_apps.plots.lattices import Lattices
from xfel_apps.plots.style import BLUE, RED, figure, grid, styled

Array = NDArray[np.float64]

N_BINS = 40
TICKS_ANG = (20, 10, 7, 5, 4, 3.5, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1, 1)
HITS, LATTICES = "outermost spots of hits", "limit of lattices"
COLOURS = {HITS: BLUE, LATTICES: RED}


@dataclass(frozen=True)
class Resolution:
    """Histograms of resolution.

    Attributes
    ----------
    edges_invang : (bins + 1,) of 1/d [1/Angstrom]; empty where nothing is known
    counts : what is counted -> (bins,)
    median_ang : what is counted -> its median [Angstrom]
    """

    edges_invang: Array
    counts: Mapping[str, NDArray[np.int64]]
    median_ang: Mapping[str, float]

    @property
    def ticks(self) -> tuple[list[float], list[str]]:
        """Where the axis of 1/d has its ticks, and the d that they say."""
        if not len(self.edges_invang):
            return [], []
        low, high = self.edges_invang[[0, -1]]
        shown = [d for d in TICKS_ANG if low <= 1 / d <= high]
        return [1.0 / d for d in shown], [f"{d:g}" for d in shown]


def resolution(runs: Sequence[RunResults], found: Lattices) -> Resolution:
    """Return how far out the hits of runs go, by their outermost spots, and their lattices."""
    parts = {HITS: np.concatenate([np.empty(0), *map(_hits_ang, runs)])}
    if len(found):
        parts[LATTICES] = found.d_min_ang
    known = {name: d[np.isfinite(d) & (d > 0)] for name, d in parts.items()}
    known = {name: d for name, d in known.items() if len(d)}
    if not known:
        return Resolution(np.empty(0), {}, {})
    low_ang, high_ang = (f([f(d) for d in known.values()]) for f in (min, max))
    edges = np.linspace(0.98 / high_ang, 1.02 / low_ang, N_BINS)
    counts = {name: np.histogram(1.0 / d, edges)[0] for name, d in known.items()}
    return Resolution(edges, counts, {name: float(np.median(d)) for name, d in known.items()})


def _hits_ang(run: RunResults) -> Array:
    """Return the resolution of the outermost spots of a run's hits [Angstrom]."""
    names = ("event", "outcome", "d_min_ang")
    if run.has(SPOTS):
        columns = [run.reader(SPOTS).shot_columns(names)]
    else:
        paths = [*run.folder.glob("spots/rank-*.h5"), *run.folder.glob(f"{LIVE}/*/spots/rank-*.h5")]
        columns = [
            {name: part.file[f"shots/{name}"][: part.n_shots] for name in names}
            for part in readable_parts(sorted(paths), SPOTS)
        ]
    hit = Outcome.HIT_NOT_INDEXED.code  # what spotfind leaves of a hit
    return np.concatenate([np.empty(0), *(c["d_min_ang"][c["outcome"] == hit] for c in columns)])


def _label(data: Resolution, name: str) -> str:
    return f"{name}, median {data.median_ang[name]:.2f} Å"


@styled
def draw(data: Resolution) -> Figure:
    """Return the histograms."""
    result = figure(4.6, 2.6)
    axes = result.subplots()
    if not data.counts:
        return nothing(result, "no resolution known")
    for name, counts in data.counts.items():
        style = {"linewidth": 1.4, "color": COLOURS[name], "label": _label(data, name)}
        axes.stairs(counts, data.edges_invang, **style)  # type: ignore[arg-type]  # mixed
    axes.set_xticks(*data.ticks)
    axes.set_ylim(bottom=0.0)
    axes.set_xlabel("resolution [Å]")
    axes.set_ylabel("number")
    above(axes, n_columns=1)
    grid(axes)
    return result


def chart(data: Resolution) -> Chart:
    """Return the same for a browser."""
    middle = 0.5 * (data.edges_invang[:-1] + data.edges_invang[1:])
    traces = [
        {"type": "scatter", "mode": "lines", "fill": "tozeroy", "name": _label(data, name)}
        | {"x": numbers(middle), "y": counts.tolist(), "hoverinfo": "y+name"}
        | {"line": {"shape": "hvh", "color": COLOURS[name], "width": 2}}
        for name, counts in data.counts.items()
    ]
    places, texts = data.ticks
    axes = {
        "xaxis": {"title": {"text": "resolution [Å]"}, "tickvals": places, "ticktext": texts},
        "yaxis": {"title": {"text": "number"}, "rangemode": "tozero"},
    }
    return {"data": traces, "layout": axes}
