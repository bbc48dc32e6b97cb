"""kill -9 of a rank of the real stages, then the same command again: the same result."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import psutil
import pytest

from tests.ranks import on_ranks
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.product import Product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.launch import launch

INDEX = '{"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}'
N_KILLS = 2


def stages(run: Path) -> list[tuple[str, list[str]]]:
    """Return the per-shot stages of a run and their arguments, the product written at [-5]."""
    names = ("events", "spots", "crystals", "reflections")
    files = [x for name in names for x in (f"--{name}", str(run / f"{name}.json"))]
    worker = ["--worker", '{"flush_s": 0.02}']
    return [
        ("spotfind", [*files[:4], "--settings", "{}", *worker]),
        ("index", [*files[:6], "--settings", INDEX, *worker]),
        ("integrate", [*files, "--settings", "{}", *worker]),
    ]


def kill_a_rank(command: list[str], seed: int) -> bool:
    """Start the command, kill one of its ranks in the middle; return whether it was in time."""
    launcher = subprocess.Popen(
        command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    )
    folder = Path(command[-5]).with_suffix("")  # the product that the stage writes
    before = set(folder.glob("rank-*.h5")) if folder.exists() else set()
    deadline = time.monotonic() + 60
    while launcher.poll() is None and time.monotonic() < deadline:
        if set(folder.glob("rank-*.h5")) - before:
            break
        time.sleep(0.005)
    time.sleep(random.Random(seed).uniform(0.0, 0.25))
    name = next(word for word in command if word.startswith("xfel_apps."))
    try:
        ranks = [
            process
            for process in psutil.Process(launcher.pid).children(recursive=True)
            if name in process.cmdline()
        ]
        os.kill(ranks[seed % len(ranks)].pid, signal.SIGKILL)
    except (psutil.NoSuchProcess, ProcessLookupError, IndexError, ZeroDivisionError):
        launcher.wait()
        return False
    return launcher.wait(timeout=60) != 0


def content(run: Path, product: Product) -> dict[str, pd.DataFrame]:
    """Return the tables of a product without what says when and where it was made."""
    manifest, reader = open_product(run / f"{product.name}.json", product)
    tables = {name: reader.frame(name) for name in product.tables}
    tables["shots"] = reader.shots().drop(columns=["start_s", "end_s", "cpu_s", "rank"])
    tables["outcomes"] = pd.DataFrame([manifest.outcomes])
    reader.close()
    return tables


@pytest.fixture(scope="module")
def runs(simulated_runs, tmp_path_factory) -> tuple[Path, Path, int]:
    """Return a run processed in peace, one with kills, and how many kills came in time."""
    folder = tmp_path_factory.mktemp("kill")
    raw = [str(path) for path in simulated_runs.folders.values()]
    peace, killed = folder / "peace", folder / "killed"
    for run in (peace, killed):
        launch("ingest", [*raw, "--run", "r1", "--events", str(run / "events.json")])
    for name, arguments in stages(peace):
        launch(name, arguments)
    n_kills = 0
    for name, arguments in stages(killed):
        command = on_ranks(3, "-m", f"xfel_apps.{name}", *arguments)
        n_kills += sum(kill_a_rank(command, seed) for seed in range(N_KILLS))
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    return peace, killed, n_kills


def test_kills_came_in_time(runs):
    assert runs[2] >= 2


@pytest.mark.parametrize("product", [SPOTS, REFLECTIONS], ids=lambda product: product.name)
def test_tables_are_those_of_an_undisturbed_run(runs, product):
    expected, found = content(runs[0], product), content(runs[1], product)
    for name in expected:
        pd.testing.assert_frame_equal(found[name], expected[name], obj=name)


def test_powder_patterns_are_those_of_an_undisturbed_run(runs):
    powders = []
    for run in runs[:2]:
        name = Manifest.read(run / "spots.json").extra["powder"]["file"]
        with h5py.File(run / name) as file:
            arrays: dict[str, np.ndarray] = {}
            file.visititems(
                lambda key, item, into=arrays: (
                    into.update({key: item[()]}) if isinstance(item, h5py.Dataset) else None
                )
            )
            powders.append(arrays)
    assert powders[0].keys() == powders[1].keys()
    for key, values in powders[0].items():
        np.testing.assert_array_equal(powders[1][key], values, err_msg=key)
