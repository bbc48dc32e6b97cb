"""The workflow over real files: targets, what is repeated when a setting changes, resuming."""

import json
import re
import subprocess
import sys
from pathlib import Path

import gemmi
import pytest

from xfel_apps.catalog import open_catalog, queries
from xfel_apps.containers.factors import FactorsManifest
from xfel_apps.containers.manifest import Manifest
from xfel_apps.containers.merged import MergedManifest
from xfel_apps.launch import workflow_folder

SNAKEMAKE = Path(sys.executable).with_name("snakemake")


def snakemake(
    experiment: Path, *options: str, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run the workflow in the folder of the experiment file."""
    root = workflow_folder()
    command = [str(SNAKEMAKE), "--snakefile", str(root / "Snakefile"), "--cores", "2"]
    command += ["--profile", str(root / "profiles" / "local"), "--configfile", str(experiment)]
    result = subprocess.run(
        [*command, "--directory", str(experiment.parent), *options],
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert result.returncode == 0, result.stdout + result.stderr
    return result


def planned(experiment: Path, *targets: str) -> dict[str, int]:
    """Return how many jobs of each rule a run would start."""
    text = snakemake(experiment, "-n", *targets).stdout
    jobs = {m[1]: int(m[2]) for m in re.finditer(r"^(\w+) +(\d+)$", text, re.M)}
    return {rule: n for rule, n in jobs.items() if rule != "total"}


@pytest.fixture(scope="module")
def done(simulated_runs, tmp_path_factory) -> Path:
    """Return the experiment file of a workflow that has been run."""
    path = tmp_path_factory.mktemp("workflow") / "experiment.yaml"
    experiment = simulated_runs.experiment(path, catalog="catalog.db", experiment="p175")
    per_run = dict.fromkeys(("ingest", "spotfind", "index", "integrate"), 2)
    assert planned(experiment) == {"all": 1, **per_run, "merge": 2, "report": 1}
    snakemake(experiment)
    return experiment


def test_every_event_of_every_run_is_accounted_for(done):
    for run in ("r0001", "r0002"):
        for product in ("events", "spots", "crystals", "reflections"):
            manifest = Manifest.read(done.parent / f"results/000/{run}/{product}.json")
            assert sum(manifest.outcomes.values()) == manifest.n_events == 16
        assert manifest.outcomes["integrated"] >= 8


def test_the_catalog_has_all_without_being_asked(done):
    with open_catalog(str(done.parent / "catalog.db")).reading() as session:
        runs = queries.runs(session, "p175", "000")
        versions = queries.versions(session, "p175", "000", "all")
    folder = done.parent / "results/000"
    for run in runs:
        manifest = Manifest.read(folder / run.name / "reflections.json")
        assert run.outcomes == {name: n for name, n in manifest.outcomes.items() if n}
        assert (run.n_events, run.state) == (16, "complete")
    assert [run.name for run in runs] == ["r0001", "r0002"]
    merged = MergedManifest.read(folder / "datasets/all/v001/merged.json")
    assert [(v.name, v.state, v.n_crystals) for v in versions] == [
        ("v001", "made", merged.n_crystals)
    ]
    assert versions[0].overall.cc_half == pytest.approx(merged.statistics["overall"]["cc_half"])


def test_datasets_are_merged_with_history(done):
    datasets = done.parent / "results/000/datasets"
    n_unique = {}
    for name in ("all", "first"):
        mtz = gemmi.read_mtz_file(str(datasets / name / "v001/merged.mtz"))
        assert mtz.spacegroup.xhm() == "P 43 21 2"
        assert mtz.history
        assert mtz.datasets[-1].wavelength == pytest.approx(1.3051, abs=2e-3)  # 9.5 keV
        n_unique[name] = mtz.nreflections
        assert json.loads((datasets / name / "v001/merged.json").read_text())["key"]
    assert n_unique["all"] > n_unique["first"] > 100


def test_report_logs_and_benchmarks_are_there(done):
    trial = done.parent / "results/000"
    assert "<html" in (trial / "report.html").read_text()
    for stage in ("ingest", "spotfind", "index", "integrate"):
        assert (trial / f"logs/r0001/{stage}.log").exists()
        assert "max_rss" in (trial / f"benchmarks/r0001/{stage}.tsv").read_text()


def test_nothing_is_repeated_without_a_change(done):
    assert not planned(done)


def test_an_indexing_setting_repeats_what_depends_on_it(done, simulated_runs):
    changed = simulated_runs.experiment(done.with_name("changed.yaml"), index={"max_lattices": 2})
    assert planned(changed) == {"all": 1, "index": 2, "integrate": 2, "merge": 2, "report": 1}


def test_a_merging_setting_makes_the_next_version(done, simulated_runs):
    changed = simulated_runs.experiment(done.with_name("merge.yaml"), merge={"d_min_ang": 3.5})
    assert planned(changed) == {"all": 1, "merge": 2, "report": 1}
    snakemake(changed)
    versions = sorted(p.name for p in (done.parent / "results/000/datasets/all").iterdir())
    assert versions == ["v001", "v002"]
    snakemake(done)
    assert not planned(done)


def test_snakemake_lints_and_reports(done):
    snakemake(done, "--lint")
    snakemake(done, "--report", "snakemake-report.html")
    assert (done.parent / "snakemake-report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"spotfind": {"min_srn": 3}}, "spotfind.min_srn: unknown setting"),
        ({"datasets": {"all": ["r9999"]}}, "unknown ones ['r9999']"),
        ({"runs": {"r0001": ["/nowhere/*.h5"]}, "datasets": {}}, "/nowhere"),
    ],
)
def test_a_wrong_experiment_is_refused_before_any_job(simulated_runs, tmp_path, sections, expected):
    experiment = simulated_runs.experiment(tmp_path / "experiment.yaml", **sections)
    result = snakemake(experiment, check=False)
    assert result.returncode != 0
    assert expected in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_structure_factors_of_every_dataset_are_refined_when_asked_for(done, simulated_runs):
    """Both datasets, one of two runs; a setting of stage 2 repeats stage 2 alone."""
    snakemake(done, "factors")
    datasets = done.parent / "results/000/datasets"
    for name, runs in (("all", 2), ("first", 1)):
        manifest = FactorsManifest.read(datasets / name / "v001/factors.json")
        assert len(manifest.inputs) == runs + 1
        assert manifest.n_lattices - len(manifest.rejected) >= 8 * runs
        mtz = gemmi.read_mtz_file(str(datasets / name / "v001" / manifest.files["mtz"]))
        assert mtz.nreflections == manifest.statistics["overall"]["n_unique"] > 100
    assert not planned(done, "factors")
    changed = simulated_runs.experiment(done.with_name("factors.yaml"), factors={"n_shells": 5})
    assert planned(changed, "factors") == {"factors": 1, "refine_structure_factors": 2}
