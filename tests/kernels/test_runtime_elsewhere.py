"""Kokkos starts with the first kernel and ends cleanly in ranks, Parsl workers and pytest-xdist."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.ranks import REPO_ROOT, on_ranks

MODEL = """
import numpy as np
from xfel_apps.compute.forward import Illumination, MosaicCrystal, Rectangles, forward
from xfel_apps.compute.structure_factors import DenseIntensities

PIXELS = Rectangles(
    np.array([[-1.0, 1.0, -20.0]]),
    np.array([[[0.1, 0.0], [0.0, -0.1], [0.0, 0.0]]]),
    np.array([[20, 20]]),
)
# held to the end: its table on the device outlives Kokkos if nobody takes care
TABLE = DenseIntensities(np.ones((5, 5, 5)), (-2, -2, -2))
CRYSTAL = MosaicCrystal(np.eye(3)[None] / 30.0, (3.0, 3.0, 3.0), TABLE)
BEAM = Illumination(np.array([1.3]), np.array([1e15]))


def photons():
    return float(forward(PIXELS, CRYSTAL, BEAM).sum())
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a folder with a module that runs a kernel and holds on to what lies on the device."""
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def run(command: list[str], folder: Path, text: str, name: str = "main.py"):
    (folder / name).write_text(textwrap.dedent(text))
    path = os.pathsep.join([str(folder), str(REPO_ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [*command, str(folder / name)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_ranks(model: Path) -> None:
    done = run(on_ranks(2), model, "import model; assert model.photons() > 0; print('end')")
    # the ranks' lines may run into each other
    assert (done.returncode, done.stdout.count("end"), done.stderr) == (0, 2, "")


def test_exception_in_a_rank_ends_all_ranks(model: Path) -> None:
    """The other rank waits for it, and its kernel has run too."""
    done = run(
        on_ranks(2),
        model,
        """
        import model
        from mpi4py import MPI
        model.photons()
        if MPI.COMM_WORLD.rank == 1:
            raise ValueError("the only complaint")
        MPI.COMM_WORLD.Barrier()
        """,
    )
    assert done.returncode != 0
    assert "ValueError: the only complaint" in done.stderr
    assert "kokkos" not in (done.stdout + done.stderr).lower()


@pytest.mark.slow
def test_parsl_workers(model: Path) -> None:
    """Two tasks of a worker, one that raises in between; then the worker is told to end."""
    done = run(
        [sys.executable],
        model,
        """
        import parsl
        from parsl.config import Config
        from parsl.executors import HighThroughputExecutor
        from parsl.providers import LocalProvider

        @parsl.python_app
        def shot(fails):
            import model
            from xfel_apps import _kernels
            photons = model.photons()
            assert not fails, "the only complaint"
            return photons, _kernels.runtime_info()["started"]

        def main():
            worker = HighThroughputExecutor(
                address="127.0.0.1",
                encrypted=False,
                max_workers_per_node=1,
                provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
            )
            with parsl.load(Config(executors=[worker], run_dir="parsl", strategy="none")):
                tasks = [shot(fails) for fails in (False, True, False)]
                errors = [task.exception() for task in tasks]
                print([type(error).__name__ for error in errors])
                assert tasks[0].result() == tasks[2].result()
                assert tasks[0].result()[1]

        if __name__ == "__main__":
            main()
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "['NoneType', 'AssertionError', 'NoneType']" in done.stdout
    logs = [path.read_text() for path in (model / "parsl").rglob("*") if path.is_file()
            and path.suffix in {".log", ".stderr", ".stdout", ".submit"}]  # fmt: skip
    assert logs
    said = (done.stderr + "".join(logs)).lower()
    assert "kokkos" not in said
    assert "terminate called" not in said


def test_pytest_xdist(model: Path) -> None:
    """Tests of two workers, one of which fails."""
    done = run(
        [sys.executable, "-m", "pytest", "-q", "-n2", "-p", "no:cacheprovider", "-c", os.devnull],
        model,
        """
        import pytest
        import model

        @pytest.mark.parametrize("number", range(4))
        def test_photons(number):
            assert model.photons() > 0
            assert number != 2, "the only complaint"
        """,
        name="test_photons.py",
    )
    assert done.returncode == 1
    assert "1 failed, 3 passed" in done.stdout
    said = (done.stdout + done.stderr).lower()
    assert "the only complaint" in said
    assert "crashed" not in said
    assert "kokkos" not in said
