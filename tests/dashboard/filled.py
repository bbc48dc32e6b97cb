"""A catalog as an experiment under way leaves it: runs, tags, a trial, a dataset with versions."""

from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from xfel_apps.catalog import Catalog, edits, open_catalog
from xfel_apps.catalog.edits import Editor
from xfel_apps.catalog.ensure import ensure_experiment, ensure_trial
from xfel_apps.catalog.find import find_run, find_trial
from xfel_apps.catalog.models import MergeBin, Part, Run, Version
from xfel_apps.catalog.parameters import Parameters
from xfel_apps.catalog.selection import Selection
from xfel_apps.catalog.url import default_url

TRIAL, DATASET = "000", "apo"
N_SHELLS = 10
SHOTS = 10_000
CELL = (79.2, 79.2, 38.0, 90.0, 90.0, 90.0)


def fill(results: Path, n_runs: int = 6, n_versions: int = 4) -> Catalog:
    """Make the catalog beside a folder of results and return it, open."""
    catalog = open_catalog(default_url(results))

    def begin(session: Any) -> None:
        experiment = ensure_experiment(session, "exp", str(results.absolute()))
        sections = {"index": {"space_group": "P43212"}}
        ensure_trial(session, experiment, TRIAL, Parameters.checked(sections))

    catalog.change(begin)
    editor = Editor(catalog, "exp", "maria")
    for number in range(1, n_runs + 1):
        name = f"r{number:04d}"
        edits.add_run(editor, name, [f"/raw/{name}.h5"])
        edits.tag(editor, name, "apo" if number % 2 else "holo")
    edits.new_dataset(editor, TRIAL, DATASET, Selection(any=("apo",)))
    catalog.change(lambda session: _results(session, n_runs))
    for number in range(1, n_versions + 1):
        catalog.change(lambda session, number=number: _version(session, number))
    return catalog


def _results(session: Any, n_runs: int) -> None:
    trial = find_trial(session, "exp", TRIAL)
    for number in range(1, n_runs + 1):
        run = find_run(session, "exp", f"r{number:04d}")
        run.n_events = SHOTS
        run.state = "growing" if number == n_runs else "sealed"
        add_results(session, trial.id, run, share=0.3 if number == n_runs else 1.0)


def add_results(session: Any, trial_id: int, run: Run, share: float) -> None:
    """Add what three stages made of a share of a run's shots."""
    rng = np.random.default_rng(run.id)
    n = int(share * SHOTS)
    hits = int(n * rng.uniform(0.1, 0.3))
    indexed = int(hits * rng.uniform(0.5, 0.8))
    integrated = int(indexed * 0.98)
    sums = {
        f"sum_{name}": value * indexed
        for name, value in zip(
            ("a_ang", "b_ang", "c_ang", "alpha_deg", "beta_deg", "gamma_deg", "d_min_ang"),
            (*CELL, 1.9),
            strict=True,
        )
    }
    counts: list[tuple[str, dict[str, float]]] = [
        ("ingest", {"n_rows": n, "n_pending": n}),
        ("spotfind", {"n_rows": n, "n_miss": n - hits, "n_hit_not_indexed": hits}),
        (
            "index",
            {
                "n_rows": hits,
                "n_hit_not_indexed": hits - indexed,
                "n_indexed": indexed,
                "n_lattices": indexed,
                **sums,
            },
        ),
        (
            "integrate",
            {"n_rows": indexed, "n_integrated": integrated, "n_failed": indexed - integrated},
        ),
    ]
    for stage, values in counts:
        session.execute(
            insert(Part).values(
                trial_id=trial_id,
                run_id=run.id,
                stage=stage,
                name=f"{stage}/rank-0001-{share:g}.h5",
                written_s=1.7e9,
                **values,
            )
        )


def _version(session: Any, number: int) -> None:
    """Add a version: the first is due already, others follow; each has more lattices."""
    from xfel_apps.catalog.edits.versions import record_version
    from xfel_apps.catalog.find import find_dataset

    dataset = find_dataset(session, "exp", TRIAL, DATASET)
    runs = ["r0001", "r0003", "r0005"]
    version = record_version(session, dataset, number, f"key{number}", runs)
    _measured(version, number)
    for shell in range(-1, N_SHELLS):
        session.add(_bin(version, number, shell))


def _measured(version: Version, number: int) -> None:
    version.n_crystals = 300 * 2**number
    version.n_observations = 90_000 * 2**number
    version.d_min_ang = 1.9
    version.space_group = "P 43 21 2"
    version.cell = " ".join(map(str, CELL))


def _bin(version: Version, number: int, shell: int) -> MergeBin:
    edges = np.linspace(30.0**-3, 1.9**-3, N_SHELLS + 1) ** (-1 / 3)
    low, high = (0, N_SHELLS) if shell < 0 else (shell, shell + 1)
    k = 2.0**number * (1.5 if shell < 0 else 4.0 * 0.6**shell)
    cc_half = k / (1 + k)
    return MergeBin(
        version_id=version.id,
        shell=shell,
        d_max_ang=edges[low],
        d_min_ang=edges[high],
        n_possible=1000,
        n_unique=990,
        n_observations=1000 * 2**number,
        completeness=0.99,
        multiplicity=2.0**number * 20,
        mean_intensity=100.0,
        mean_i_over_sigma=3 * k**0.5,
        cc_half=cc_half,
        cc_star=(2 * cc_half / (1 + cc_half)) ** 0.5,
        r_split=0.6 / k**0.5,
    )
