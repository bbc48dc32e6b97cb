"""A fleet that runs everything in this process, one thing at a time, when the test says so."""

import contextlib
import importlib
import io
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from xfel_apps import mpi
from xfel_apps.live.fleet import Pool


@dataclass
class InProcessFleet:
    """Crews and tasks wait until `work` is called."""

    pools: Sequence[Pool] = (Pool("local", 1, None, None, 1, 1, is_mpi=False),)
    waiting: list[tuple[Callable[[], int], Future[int]]] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def start_crew(self, pool: Pool, name: str, arguments: Sequence[str]) -> Future[int]:
        at = arguments.index("--live") + 1
        quick = [*arguments[:at], '{"idle_s": 0.05}', *arguments[at + 1 :]]
        return self._later("live.crew", lambda: _run("live.crew", quick))

    def run(self, app: str, arguments: Sequence[str], log: Path, *, mpi: bool) -> Future[int]:
        def logged() -> int:
            said = io.StringIO()
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                code = _run(app, arguments)
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(said.getvalue())
            return code

        return self._later(app, logged)

    def _later(self, name: str, action: Callable[[], int]) -> Future[int]:
        future: Future[int] = Future()
        self.started.append(name)
        self.waiting.append((action, future))
        return future

    def work(self) -> None:
        """Do what waits."""
        waiting, self.waiting = self.waiting, []
        for action, future in waiting:
            future.set_result(action())

    def blocks(self) -> dict[str, dict[str, int]]:
        return {"local": {"running": 1, "pending": 0, "most": 1}}

    def shrink(self) -> None:
        pass

    def end(self) -> None:
        pass


def _run(app: str, arguments: Sequence[str]) -> int:
    name = "xfel_apps." + app
    with contextlib.suppress(ModuleNotFoundError):
        module = importlib.import_module(f"{name}.__main__")
        return module.main(list(arguments), **_comm(app))
    return importlib.import_module(name).main(list(arguments), **_comm(app))


def _comm(app: str) -> dict[str, mpi.Comm]:
    return {} if app == "report" else {"comm": mpi.serial()}
