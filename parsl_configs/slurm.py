"""Any Slurm cluster: MPI jobs in blocks of whole nodes, small jobs in blocks of one node."""

from parsl.config import Config
from parsl.executors import HighThroughputExecutor, MPIExecutor

from parsl_configs._blocks import SlurmBlocks, check_pool, provider

QOS = {"reservation": None, "realtime": "realtime", "preempt": "preempt", "regular": "regular"}


def make_config(
    *,
    pool: str = "regular",
    nodes: int = 2,
    walltime: str = "00:30:00",
    account: str | None = None,
    reservation: str | None = None,
    max_blocks: int = 1,
) -> Config:
    """Return a configuration for a Slurm cluster.

    Parameters
    ----------
    pool : reservation, realtime, preempt or regular
    nodes : of a block for MPI jobs
    walltime : of a block, as HH:MM:SS
    account : that blocks are charged to; by default the user's own
    reservation : that blocks run in; preemptible blocks may use its idle nodes
    max_blocks : most blocks at a time, of each kind
    """
    check_pool(pool, reservation)
    blocks = SlurmBlocks(QOS[pool], walltime, account, reservation, max_blocks, pool == "preempt")
    mpi = MPIExecutor(
        label="mpi",
        provider=provider(blocks, nodes),
        mpi_launcher="srun",
        max_workers_per_block=nodes,
        block_error_handler=False,
        heartbeat_period=5,
        heartbeat_threshold=30,
    )
    small = HighThroughputExecutor(
        label="small",
        provider=provider(blocks, 1),
        block_error_handler=False,
        heartbeat_period=5,
        heartbeat_threshold=30,
        encrypted=False,
    )
    return Config(
        executors=[mpi, small],
        strategy="simple",
        strategy_period=1,
        max_idletime=60,
        run_dir=".snakemake/parsl",
    )
