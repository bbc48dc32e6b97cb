"""Settings of the plugin: `--parsl-...` on the command line, or environment variables.

Snakemake understands `Optional[str]`, not `str | None`.
"""
# ruff: noqa: UP045

from dataclasses import dataclass, field
from typing import Any, Optional

from snakemake_interface_executor_plugins.settings import ExecutorSettingsBase


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text, "env_var": True, "required": False})


@dataclass
class ExecutorSettings(ExecutorSettingsBase):  # type: ignore[misc]  # it has no types
    """Which blocks the jobs run in."""

    config: str = _setting(
        "local",
        "Module with the function `make_config` that returns Parsl's configuration: a name in "
        "`parsl_configs` beside the Snakefile, or a dotted name.",
    )
    pool: Optional[str] = _setting(
        None, "Where blocks are queued: reservation, realtime, preempt or regular."
    )
    nodes: Optional[int] = _setting(None, "Nodes of a block.")
    walltime: Optional[str] = _setting(None, "Walltime of a block, as HH:MM:SS.")
    account: Optional[str] = _setting(None, "Account that blocks are charged to.")
    reservation: Optional[str] = _setting(None, "Reservation that blocks run in.")
    qos: Optional[str] = _setting(
        None, "QOS that blocks are queued with, instead of the pool's own."
    )
    constraint: Optional[str] = _setting(None, "Kind of nodes, as Slurm names it: cpu, gpu, ...")
    max_blocks: Optional[int] = _setting(None, "Most blocks at a time of each kind.")
    environment: Optional[str] = _setting(
        None,
        "Script that `xfelflow pack-env` wrote: blocks run its packed Python from their nodes' own "
        "disks.",
    )
    tries: int = _setting(
        5, "How often a job is started again that was lost with its block, or exited with 75."
    )
