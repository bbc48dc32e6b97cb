"""Where crews and small tasks run: blocks of Parsl, by pool."""

import inspect
import os
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xfel_apps.errors import SettingsError
from xfel_apps.launch import workflow_folder

SMALL_TASKS = 3
"""Sealings, merges and reports at a time on one machine."""
# Ends a task when another daemon has begun: it would do the same. $$ is the task after `exec`.
WHILE_DAEMON = """(while kill -0 $$ 2>/dev/null && grep -q {id} {file}; do sleep 1; done
kill $$; sleep 5; kill -9 $$) >/dev/null 2>&1 &
"""
ORPHANS_END_S = 10.0
"""So long after a new daemon's beginning all tasks of one that was killed have ended [s]."""
IDLE_BLOCK_S = 30.0
"""A block without crew or task is given back after so long [s]."""


@dataclass(frozen=True)
class Place:
    """Where the daemon may work.

    Attributes
    ----------
    config : name of a module in `parsl_configs`
    blocks : pool -> most blocks there; pools that are to be filled first come first
    workers : ranks that work on a node; None: one a processor
    nodes, walltime, account, reservation, constraint : of a block; None: as the configuration has
        it
    environment : script of a packed environment that blocks run from
    """

    config: str = "local"
    blocks: Mapping[str, int] | None = None
    workers: int | None = None
    nodes: int | None = None
    walltime: str | None = None
    account: str | None = None
    reservation: str | None = None
    constraint: str | None = None
    environment: str | None = None


@dataclass(frozen=True)
class Pool:
    """A kind of blocks.

    Attributes
    ----------
    name : of the pool
    max_blocks : most blocks, each with one crew
    crews, small : Parsl's executors for crews and for small tasks
    nodes, ranks : nodes of a block, and ranks that work on each
    is_mpi : whether Parsl places the ranks of a crew
    """

    name: str
    max_blocks: int
    crews: Any
    small: Any
    nodes: int
    ranks: int
    is_mpi: bool

    @property
    def is_urgent(self) -> bool:
        """Whether its blocks are for live data only."""
        return self.name == "realtime"


class Fleet(Protocol):
    """What the daemon needs of it."""

    @property
    def pools(self) -> Sequence[Pool]:
        """Where crews can be started, the first to be filled first."""

    def start_crew(self, pool: Pool, name: str, arguments: Sequence[str]) -> "Future[int]":
        """Start a crew; its exit code comes when it ends."""

    def run(self, app: str, arguments: Sequence[str], log: Path, *, mpi: bool) -> "Future[int]":
        """Run an app beside the crews."""

    def blocks(self) -> dict[str, dict[str, int]]:
        """Return for each pool how many blocks are running, pending and allowed."""

    def shrink(self) -> None:
        """End blocks that have been idle for long while others of their pool work."""

    def end(self) -> None:
        """End all blocks."""


def parse_blocks(text: str) -> dict[str, int]:
    """Return how many blocks each pool may have.

    >>> parse_blocks("reservation=1, preempt=2")
    {'reservation': 1, 'preempt': 2}
    """
    found = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if not number.strip().isdigit() or not name.strip():
            raise SettingsError(f"--blocks {text}: expected POOL=NUMBER, such as `reservation=1`")
        found[name.strip()] = int(number)
    return found


class ParslFleet:
    """Blocks of Parsl; nothing is asked for before there is work.

    Parameters
    ----------
    place : where the daemon may work
    folder : for logs

    Raises
    ------
    SettingsError : the configuration, a pool or an option of it is unknown
    """

    def __init__(self, place: Place, folder: Path) -> None:
        self._folder = folder
        self._daemon = ""
        # A packed environment has its Python first on the PATH of its blocks.
        self._python = sys.executable if place.environment is None else "python"
        self._pools = _pools(place)
        self._kernel: Any = None

    @property
    def pools(self) -> Sequence[Pool]:
        """Where crews can be started, the first to be filled first."""
        return self._pools

    def start(self, daemon: str) -> None:
        """Start Parsl for the daemon with this id."""
        from parsl.config import Config
        from parsl.dataflow.dflow import DataFlowKernel

        self._daemon = daemon
        executors = {id(x): x for pool in self.pools for x in (pool.crews, pool.small)}
        self._kernel = DataFlowKernel(
            Config(
                executors=list(executors.values()),
                # `htex_auto_scale` ends blocks that have only been asked for (Parsl 2026.10).
                strategy="simple",
                strategy_period=1,
                max_idletime=IDLE_BLOCK_S,
                run_dir=str(self._folder / "parsl"),
                initialize_logging=False,
            )
        )

    def start_crew(self, pool: Pool, name: str, arguments: Sequence[str]) -> "Future[int]":
        """Start a crew; its exit code comes when it ends."""
        log = self._folder / "logs" / f"{name}.log"
        if not pool.is_mpi:
            text = f"exec {_mpiexec(pool.ranks + (pool.ranks > 1))} "
            return self._submit(pool.crews, text + self._app("live.crew", arguments), log)
        resources = {
            "num_nodes": pool.nodes,
            "num_ranks": pool.nodes * pool.ranks,
            "ranks_per_node": pool.ranks,
            "launcher_options": "",
        }
        text = f"exec $PARSL_MPI_PREFIX {self._app('live.crew', arguments)}"
        return self._submit(pool.crews, text, log, resources)

    def run(self, app: str, arguments: Sequence[str], log: Path, *, mpi: bool) -> "Future[int]":
        """Run an app beside the crews, on all processors of a node where it can use them."""
        pool = self.pools[0]
        start = ""
        if mpi and pool.is_mpi:
            start = f"{pool.crews.mpi_launcher} --overlap --nodes=1 --ntasks={pool.ranks} "
        elif mpi and pool.ranks > 1:
            start = f"{_mpiexec(pool.ranks)} "
        file = shlex.quote(str(self._folder / "daemon.json"))
        watch = WHILE_DAEMON.format(id=self._daemon, file=file)
        return self._submit(pool.small, f"{watch}exec {start}{self._app(app, arguments)}", log)

    def _app(self, app: str, arguments: Sequence[str]) -> str:
        """Return the command line of an app."""
        return shlex.join([self._python, "-m", "mpi4py", "-m", f"xfel_apps.{app}", *arguments])

    def _submit(
        self, executor: Any, text: str, log: Path, resources: dict[str, Any] | None = None
    ) -> "Future[int]":
        from snakemake_executor_plugin_parsl.command import Command, run_command

        command = Command(text=text, folder=str(Path.cwd()), log=str(log), threads=1)
        future: Future[int] = self._kernel.submit(
            run_command,
            app_args=(command,),
            app_kwargs={"parsl_resource_specification": resources} if resources else {},
            executors=[executor.label],
            cache=False,
            ignore_for_cache=(),
        )
        return future

    def blocks(self) -> dict[str, dict[str, int]]:
        """Return for each pool how many blocks are running, pending and allowed."""
        from parsl.jobs.states import JobState

        found = {}
        for pool in self.pools:
            states = [status.state for status in pool.crews.status_facade.values()]
            found[pool.name] = {
                "running": states.count(JobState.RUNNING),
                "pending": states.count(JobState.PENDING),
                "most": pool.max_blocks,
            }
        return found

    def shrink(self) -> None:
        """End blocks that have been idle for long while others of their pool work."""
        for pool in self._pools:
            active = self.blocks()[pool.name]
            n_spare = active["running"] + active["pending"] - pool.crews.outstanding()
            managers = pool.crews.connected_managers() if n_spare > 0 and pool.is_mpi else []
            n_idle = sum(m["tasks"] == 0 and m["idle_duration"] > IDLE_BLOCK_S for m in managers)
            if n_idle:
                pool.crews.scale_in_facade(min(n_spare, n_idle), max_idletime=IDLE_BLOCK_S)

    def end(self) -> None:
        """End all blocks."""
        if self._kernel is not None and not self._kernel.cleanup_called:
            self._kernel.cleanup()


def _pools(place: Place) -> list[Pool]:
    """Return the pools with their executors, the first to be filled first."""
    from snakemake_executor_plugin_parsl.configs import find_config
    from snakemake_interface_common.exceptions import WorkflowError

    try:
        taken = inspect.signature(find_config(place.config, workflow_folder())).parameters
        if "pool" not in taken:
            return [_one_machine(place)]
        return [_pool(place, name, most) for name, most in _blocks(place).items() if most]
    except WorkflowError as err:
        raise SettingsError(re.sub(r"--parsl-(?!config)", "--", str(err))) from None


def _blocks(place: Place) -> Mapping[str, int]:
    blocks = place.blocks
    if blocks is None:
        blocks = {"reservation": 1, "preempt": 1} if place.reservation else {"regular": 1}
    if not any(blocks.values()):
        raise SettingsError("--blocks: give at least one block")
    return blocks


def _config(place: Place, **extra: Any) -> Any:
    """Return Parsl's configuration with what of `place` is given."""
    from snakemake_executor_plugin_parsl.configs import load_config
    from snakemake_executor_plugin_parsl.settings import ExecutorSettings

    settings = ExecutorSettings(
        config=place.config,
        nodes=place.nodes,
        walltime=place.walltime,
        account=place.account,
        constraint=place.constraint,
        environment=place.environment,
    )
    for name, value in extra.items():
        setattr(settings, name, value)
    return load_config(settings, workflow_folder())


def _one_machine(place: Place) -> Pool:
    """Return the one pool of a configuration without pools."""
    from snakemake_executor_plugin_parsl.configs import own_executors

    name = place.config.rpartition(".")[2]
    blocks = place.blocks or {name: 1}
    if set(blocks) != {name} or not blocks[name]:
        raise SettingsError(f"--blocks: --parsl-config {place.config} has only the pool {name}")
    executor = own_executors(_config(place, reservation=place.reservation))[0]
    executor.label = f"{executor.label}_{name}"
    # All crews share the machine: one block, with room for small tasks beside the crews.
    executor.max_workers_per_node = blocks[name] + SMALL_TASKS
    executor.provider.max_blocks = 1
    ranks = place.workers or len(os.sched_getaffinity(0))
    return Pool(name, blocks[name], executor, executor, 1, ranks, is_mpi=False)


def _pool(place: Place, name: str, most: int) -> Pool:
    """Return a pool of a configuration with pools: an executor for MPI and one for small tasks."""
    from parsl.executors import MPIExecutor
    from snakemake_executor_plugin_parsl.configs import own_executors

    reservation = place.reservation if name == "reservation" else None
    config = _config(place, pool=name, reservation=reservation, max_blocks=most)
    executors = own_executors(config)
    for executor in executors:
        executor.label = f"{executor.label}_{name}"
    mpi: Any = next(x for x in executors if isinstance(x, MPIExecutor))
    small = next(x for x in executors if not isinstance(x, MPIExecutor))
    small.provider.max_blocks = 1
    # A crew takes a whole block: Parsl is to ask for one block a crew.
    mpi.provider.parallelism = mpi.workers_per_node * mpi.provider.nodes_per_block
    mpi.max_workers_per_node = 1
    node = mpi.provider.node
    if place.workers is None and node is None:
        raise SettingsError(f"--parsl-config {place.config}: say how many --workers a node has")
    ranks = place.workers or node.cores
    return Pool(name, most, mpi, small, mpi.provider.nodes_per_block, ranks, is_mpi=True)


def _mpiexec(ranks: int) -> str:
    """Return what starts so many ranks on this machine; nothing for one."""
    if ranks == 1:
        return ""
    beside = Path(sys.executable).with_name("mpiexec")
    return f"{shlex.quote(str(beside)) if beside.exists() else 'mpiexec'} -n {ranks}"


def new_name(pool: Pool, number: int) -> str:
    """Return a name for a crew that no crew has had."""
    return f"{pool.name}-{time.strftime('%m%d-%H%M%S')}-{number}"
