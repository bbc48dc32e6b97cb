"""Data of the plots of rates, cells, resolution, merged data, powder: answers that are known."""

from dataclasses import replace

import numpy as np
import pytest

from tests.plots.jobs import steady
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.results import runs_below
from xfel_apps.errors import ContainerError
from xfel_apps.plots import cells as cells_figure
from xfel_apps.plots import orientation, powder, rates, resolution, versions
from xfel_apps.plots.clusters import cluster
from xfel_apps.plots.lattices import lattices
from xfel_apps.plots.timing import timings


@pytest.fixture
def runs(tiny_trial):
    with runs_below(tiny_trial) as runs:
        yield runs


def test_rates_of_a_trial(runs):
    """Of 40 shots 36 were searched; of those 28 were hits as first told, 20 integrated."""
    data = rates.rates(timings(runs))
    assert data.n_shots == 36
    assert data.totals == {"hit": 28, "indexed": 20, "integrated": 20}
    assert data.starts.tolist() == [0, 18]
    step_s = 2.0 * data.time_s[0]
    done = {stage: rate_hz.sum() * step_s for stage, rate_hz in data.rate_hz.items()}
    assert done == pytest.approx({"spotfind": 36, "index": 24, "integrate": 20})
    chart = rates.chart(data)
    assert [t["name"] for t in chart["data"]][-1] == "integrated: 20 of 36"


def test_shares_follow_the_order_of_the_shots():
    times = steady()
    hit = times.event >= 400
    outcome = np.where(hit, Outcome.HIT_NOT_INDEXED.code, Outcome.MISS.code)
    data = rates.rates(replace(times, outcome=outcome))
    np.testing.assert_array_equal(data.share["hit"], data.shot > 399)
    assert len(data.shot) == 40


def test_two_isoforms_and_strays_are_told_apart():
    rng = np.random.default_rng(0)
    cells = np.tile([79.2, 79.2, 38.0, 90.0, 90.0, 90.0], (1000, 1))
    cells[:300, 2] = 39.2  # 3 % longer
    cells[:, :3] *= 1 + rng.normal(0, 1e-3, (1000, 3))
    cells[-5:] = rng.uniform([30] * 3 + [90] * 3, [120] * 3 + [90.001] * 3, (5, 6))
    found = cluster(cells)
    assert np.bincount(found[:300], minlength=2).tolist() == [0, 300]
    assert np.bincount(found[300:995]).tolist() == [695]
    assert (found[-5:] == -1).all()


def test_a_million_cells_are_clustered_from_a_sample():
    rng = np.random.default_rng(1)
    cells = np.tile([79.2, 79.2, 38.0, 90.0, 90.0, 90.0], (100_000, 1))
    cells[:, :3] *= 1 + rng.normal(0, 1e-3, (100_000, 3))
    assert (cluster(cells) == 0).mean() > 0.999


def test_few_cells_and_none():
    assert cluster(np.empty((0, 6))).tolist() == []
    assert cluster(np.array([[79.2, 79.2, 38.0, 90.0, 90.0, 90.0]])).tolist() == [-1]


def test_cells_of_a_trial(runs):
    data = cells_figure.cells(lattices(runs))
    assert (data.space_group, data.n, data.n_others) == ("P 43 21 2", 20, 0)
    assert [item.index for item in data.histograms] == [0, 2]
    assert [int(item.counts.sum()) + item.n_outside for item in data.histograms] == [20, 20]
    np.testing.assert_allclose(data.median[:3], [79.2, 79.2, 38.0], rtol=2e-3)
    assert sum(item.n for item in data.clusters) == 20
    picks = [pick for trace in cells_figure.scatter(data)["data"] for pick in trace["customdata"]]
    assert {event % 10 for _, event in picks} == {5, 6, 7, 8, 9}
    assert {run for run, _ in picks} == {"r0001", "r0002"}
    drawn = sum(sum(t["y"]) for t in cells_figure.chart(data)["data"] if t["xaxis"] == "x2")
    assert drawn == 20 - data.histograms[1].n_outside


def test_lattices_of_a_run_that_is_not_integrated_yet(tiny_trial):
    with runs_below(tiny_trial) as runs:
        whole = lattices(runs)
    (tiny_trial / "r0002" / "reflections.json").unlink()
    for path in (tiny_trial / "r0002" / "reflections").iterdir():
        path.unlink()
    (tiny_trial / "r0002" / "crystals.json").unlink()
    with runs_below(tiny_trial) as runs:
        growing = lattices(runs)
    np.testing.assert_array_equal(growing.event, whole.event)
    np.testing.assert_allclose(growing.a_matrix, whole.a_matrix)
    assert growing.per_shot.tolist() == [1] * 20


def test_no_lattices_yet(tiny_trial):
    for name in ("crystals", "reflections"):
        (tiny_trial / "r0001" / f"{name}.json").unlink()
        for path in (tiny_trial / "r0001" / name).iterdir():
            path.unlink()
    with runs_below(tiny_trial / "r0001") as runs:
        none = lattices(runs)
        assert len(none) == 0
        for needs in (cells_figure.cells, orientation.orientations):
            with pytest.raises(ContainerError, match="no lattice has been found yet"):
                needs(none)
        assert list(resolution.resolution(runs, none).counts) == [resolution.HITS]


def test_resolution_of_a_trial(runs):
    data = resolution.resolution(runs, lattices(runs))
    assert {name: int(counts.sum()) for name, counts in data.counts.items()} == {
        resolution.HITS: 28,
        resolution.LATTICES: 20,
    }
    assert data.median_ang[resolution.HITS] == pytest.approx(2.5)


def test_orientations_can_be_picked(runs):
    data = orientation.orientations(lattices(runs))
    picks = orientation.chart(data)["data"][1]["customdata"]
    assert len(picks) == int((data.coverage.reduced[:, 2] >= 0).sum()) > 5


def merged(n_crystals: int, cc_half: float | None) -> MergedManifest:
    shell = {"d_max_ang": 4.0, "d_min_ang": 3.0, "cc_half": cc_half, "multiplicity": 5.0}
    return MergedManifest(
        digest="d",
        settings={},
        inputs={},
        cell=(79.2, 79.2, 38.0, 90.0, 90.0, 90.0),
        space_group="P 43 21 2",
        d_max_ang=30.0,
        d_min_ang=2.0,
        n_crystals=n_crystals,
        crystals={"merged": n_crystals},
        modes={},
        n_observations=1,
        n_rejected=0,
        error_model={},
        statistics={"overall": shell, "shells": [shell, shell]},
        files={},
    )


def test_versions_in_order_and_the_last_always_drawn(tmp_path):
    for number in (1, 2, 10, *range(11, 40)):
        folder = tmp_path / "datasets" / "lyso" / f"v{number:03d}"
        folder.mkdir(parents=True)
        merged(100 * number, None if number == 1 else 0.9).write(folder / "merged.json")
    data = versions.versions(versions.merged_below(tmp_path))
    assert [item.name for item in data.all[:3]] == ["v001", "v002", "v010"]
    assert data.n_crystals[-1] == 3900
    assert (data.drawn[0].name, data.drawn[-1].name) == ("v001", "v039")
    assert len(data.drawn) == versions.MOST_VERSIONS
    growth = versions.chart(data)["data"][-1]
    assert growth["y"][:2] == [None, 0.9]


def test_nothing_merged_yet(tiny_trial):
    with pytest.raises(ContainerError, match="no merged data here"):
        versions.merged_below(tiny_trial)


def test_powder_lies_where_the_panels_are(runs):
    data = powder.powder(runs[0])
    known = np.isfinite(data.pictures[0])
    assert 0.5 < known.mean() <= 1.0
    image = powder.chart(data)["layout"]["images"][0]
    assert image["source"].startswith("data:image/png;base64,")
    assert (image["x"], image["y"]) == (data.extent_mm[0], data.extent_mm[3])
