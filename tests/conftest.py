"""Fixtures that every folder of tests shares."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_trial import write_trial

REPO_ROOT = Path(__file__).parents[1]


TOGETHER = ("tests/slurm/", "tests/catalog/")
LONG = (*TOGETHER, "tests/workflow/", "tests/demo/", "tests/interchange/test_dials.py")


def pytest_configure() -> None:
    """Let what tests start feel Ctrl-C, also where this was started with it ignored (nohup, &)."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that the workers of pytest-xdist end together."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share tests out by file, so that a module's fixtures are made once, in the order above.

    Those of the Slurm cluster go to one worker: there is one cluster; those of the catalog too:
    its database servers are started once. (`--dist loadgroup` of pytest-xdist 3.8 has no effect
    under pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            together = [name for name in TOGETHER if nodeid.startswith(name)]
            return together[0] if together else nodeid.split("::")[0]

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of the real data sets: $XFELFLOW_DATA, else ../shared/data beside the checkout."""
    folder = Path(os.environ.get("XFELFLOW_DATA", REPO_ROOT.parent / "shared" / "data"))
    if not (folder / "MANIFEST.md").is_file():
        pytest.skip(f"no test data: {folder}/MANIFEST.md is missing (set XFELFLOW_DATA)")
    return folder


@pytest.fixture
def tiny_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of a trial of two runs of twenty shots (see tests/tiny_trial.py); no raw frames."""
    return write_trial(tmp_path / "results" / "000", monkeypatch)
