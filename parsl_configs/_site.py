"""What a site with Slurm is, for Parsl: names of queues, kinds of nodes, network."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psutil
from parsl.config import Config
from parsl.executors import HighThroughputExecutor, MPIExecutor
from parsl.utils import wtime_to_minutes

from parsl_configs._ask import check, largest_node
from parsl_configs._blocks import (
    WARNING_S,
    Node,
    SlurmBlocks,
    give_up_when_refused,
    provider,
)
from parsl_configs._environment import activation

POOLS = ("reservation", "realtime", "preempt", "regular")
HEARTBEATS: dict[str, Any] = {"heartbeat_period": 5, "heartbeat_threshold": 30}
"""How soon a lost block is noticed [s]."""


@dataclass(frozen=True)
class SlurmSite:
    """A cluster with Slurm; `make_config` is what the executor plugin calls."""

    qos: Mapping[str, str | None]
    """QOS of each pool that the site has; None: what Slurm takes by itself."""
    kinds: Mapping[str, Node] = field(default_factory=dict)
    """Kinds of nodes by Slurm's constraint, the usual one first; none: all nodes are alike."""
    interface: str | None = None
    """Network interface that the nodes reach the login node by; None: whichever they find."""
    worker_init: tuple[str, ...] = ()
    """Shell commands that every block begins with."""

    def make_config(
        self,
        *,
        pool: str = "regular",
        nodes: int = 2,
        walltime: str = "00:30:00",
        account: str | None = None,
        reservation: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        max_blocks: int = 1,
        environment: str | None = None,
    ) -> Config:
        """Return a configuration: MPI jobs in blocks of whole nodes, small ones on one node.

        Parameters
        ----------
        pool : reservation, realtime, preempt or regular
        nodes : of a block for MPI jobs
        walltime : of a block, as HH:MM:SS
        account : that blocks are charged to; by default the user's own
        reservation : that blocks run in
        qos : instead of the pool's own
        constraint : kind of nodes, as Slurm names it
        max_blocks : most blocks at a time, of each kind
        environment : script of a packed environment (`xfelflow pack-env`) that blocks run from

        Raises
        ------
        ValueError : a choice that the site or Slurm does not know; the text names those it knows
        """
        blocks = self.blocks(
            pool, walltime=walltime, account=account, reservation=reservation, qos=qos,
            constraint=constraint, max_blocks=max_blocks, environment=environment,
        )  # fmt: skip
        return Config(
            executors=[self.mpi(blocks, nodes), self.small(blocks)],
            strategy="simple",
            strategy_period=1,
            max_idletime=60,
            run_dir=".snakemake/parsl",
        )

    def blocks(
        self,
        pool: str,
        *,
        walltime: str,
        account: str | None = None,
        reservation: str | None = None,
        qos: str | None = None,
        constraint: str | None = None,
        max_blocks: int = 1,
        environment: str | None = None,
    ) -> SlurmBlocks:
        """Return the blocks of a pool (parameters as of `make_config`)."""
        self._check(pool, reservation, qos, constraint)
        check_walltime(walltime)
        kind = constraint or next(iter(self.kinds), None)
        return SlurmBlocks(
            qos=qos or self.qos[pool],
            walltime=walltime,
            account=account,
            reservation=reservation,
            max_blocks=max_blocks,
            is_preemptible=pool == "preempt",
            constraint=kind,
            node=self.kinds[kind] if self.kinds and kind else largest_node(),
            worker_init=(*self.worker_init, *activation(environment)),
        )

    def mpi(self, blocks: SlurmBlocks, nodes: int, label: str = "mpi") -> MPIExecutor:
        """Return what runs MPI jobs, in blocks of so many whole nodes."""
        if nodes < 1:
            raise ValueError(f"blocks of {nodes} nodes: at least 1 is needed")
        source = provider(blocks, nodes)
        check(source)
        return MPIExecutor(
            label=label,
            provider=source,
            address=self._address(),
            mpi_launcher="srun",
            max_workers_per_block=nodes,
            block_error_handler=give_up_when_refused,
            **HEARTBEATS,
        )

    def small(self, blocks: SlurmBlocks, label: str = "small") -> HighThroughputExecutor:
        """Return what runs jobs of one process, many to a node: one worker a core."""
        source = provider(blocks, 1)
        check(source)
        return HighThroughputExecutor(
            label=label,
            provider=source,
            address=self._address(),
            max_workers_per_node=blocks.node.cores if blocks.node else None,
            block_error_handler=give_up_when_refused,
            encrypted=False,
            **HEARTBEATS,
        )

    def _address(self) -> str | None:
        """Return this machine's address in the nodes' network; None: Parsl tries all it has."""
        found = psutil.net_if_addrs().get(self.interface or "", [])
        return next((x.address for x in found if x.family is socket.AF_INET), None)

    def _check(
        self,
        pool: str,
        reservation: str | None,
        qos: str | None,
        constraint: str | None,
    ) -> None:
        known = POOLS if qos else tuple(self.qos)
        if pool not in known:
            missing = " here (--parsl-qos can name a QOS for it)" if pool in POOLS else ""
            raise ValueError(f"no pool {pool}{missing}; known: {', '.join(known)}")
        if pool == "reservation" and reservation is None:
            raise ValueError(
                "the pool `reservation` needs the reservation's name: --parsl-reservation"
            )
        if constraint and self.kinds and constraint not in self.kinds:
            raise ValueError(f"no nodes of kind {constraint}; known: {', '.join(self.kinds)}")


def check_walltime(walltime: str) -> None:
    """Raise a ValueError if a walltime is not HH:MM:SS, or too short to warn of its end."""
    try:
        minutes = wtime_to_minutes(walltime)
    except ValueError:
        raise ValueError(f"walltime {walltime}: not HH:MM:SS") from None
    if 60 * minutes <= WARNING_S:
        raise ValueError(
            f"walltime {walltime}: jobs are told {WARNING_S} s before its end, so make it longer"
        )
