"""One machine: tasks on its own processors."""

import os

from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider


def make_config(*, max_blocks: int = 1, workers: int | None = None) -> Config:
    """Return a configuration for one machine.

    Parameters
    ----------
    max_blocks : most groups of workers
    workers : tasks at a time in each; by default one a processor
    """
    provider = LocalProvider(  # type: ignore[no-untyped-call]  # Parsl's providers have no types
        init_blocks=1, min_blocks=0, max_blocks=max_blocks, launcher=SimpleLauncher()
    )
    small = HighThroughputExecutor(
        label="small",
        provider=provider,
        address="127.0.0.1",
        max_workers_per_node=workers or len(os.sched_getaffinity(0)),
        encrypted=False,
        block_error_handler=False,
        heartbeat_period=5,
        heartbeat_threshold=30,
    )
    return Config(
        executors=[small], strategy="simple", run_dir=".snakemake/parsl", initialize_logging=True
    )
