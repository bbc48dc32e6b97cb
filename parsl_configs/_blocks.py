"""Blocks on Slurm that give way in time, and are asked for no more than so often."""

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException
from parsl.utils import wtime_to_minutes

POOLS = ("reservation", "realtime", "preempt", "regular")
REQUESTS_PER_MINUTE = 10
WARNING_S = 60
"""Slurm says so long before a block ends, or when a reservation's job wants its nodes [s]."""

# The shell of a block is told (INT) before the block ends. It tells the MPI jobs, which flush and
# exit, waits for them, and ends Parsl's manager, which has passed on their exit codes by then.
GIVE_WAY = """
{command} &
manager=$!
give_way() {{
  scancel --signal=INT "$SLURM_JOB_ID"
  for _ in $(seq 40); do
    squeue --noheader --steps --job "$SLURM_JOB_ID" --format %i | grep -q '\\.[0-9]' || break
    sleep 0.5
  done
  sleep 1
  kill $manager
}}
trap give_way INT TERM
wait $manager
wait
"""


@dataclass(frozen=True)
class SlurmBlocks:
    """Where blocks are queued and how long they last."""

    qos: str | None
    walltime: str
    account: str | None = None
    reservation: str | None = None
    max_blocks: int = 1
    is_preemptible: bool = False


def check_pool(pool: str, reservation: str | None) -> None:
    """Raise a ValueError that names the pools, if a pool is unknown or has no reservation."""
    if pool not in POOLS:
        raise ValueError(f"no pool {pool}; known: {', '.join(POOLS)}")
    if pool == "reservation" and reservation is None:
        raise ValueError("the pool `reservation` needs the reservation's name: --parsl-reservation")


def provider(blocks: SlurmBlocks, nodes: int) -> "CappedSlurmProvider":
    """Return what asks Slurm for blocks of so many nodes."""
    seconds = 60 * wtime_to_minutes(blocks.walltime)
    signal = "BR" if blocks.is_preemptible else "B"
    options = ["--no-requeue", "--mem=0", f"--signal={signal}:INT@{WARNING_S}"]
    if blocks.reservation is not None:
        options.append(f"--reservation={blocks.reservation}")
    return CappedSlurmProvider(
        qos=blocks.qos,
        account=blocks.account,
        walltime=blocks.walltime,
        nodes_per_block=nodes,
        init_blocks=0,
        min_blocks=0,
        max_blocks=blocks.max_blocks,
        scheduler_options="\n".join(f"#SBATCH {option}" for option in options),
        worker_init=f"export PARSL_BLOCK_END=$(( $(date +%s) + {seconds} ))",
        launcher=GivingWay(),
    )


class GivingWay(SimpleLauncher):
    """Starts Parsl's manager on the first node and ends it in order when the block must end."""

    def __call__(
        self, command: str, tasks_per_node: int, nodes_per_block: int, script_dir: str = ""
    ) -> str:
        """Return the shell commands of a block."""
        return GIVE_WAY.format(command=command)


class CappedSlurmProvider(SlurmProvider):
    """Sees lost blocks within seconds, and asks for only so many in a minute.

    A scheduler's hiccup has made Parsl ask for dozens (https://github.com/Parsl/parsl/issues/2851).
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._asked: deque[float] = deque(maxlen=REQUESTS_PER_MINUTE)

    @property
    def status_polling_interval(self) -> int:
        """Seconds between looks at the queue."""
        return 3

    def submit(self, command: str, tasks_per_node: int, job_name: str = "parsl.slurm") -> Any:
        """Ask Slurm for a block, unless too many have been asked for."""
        now = time.monotonic()
        if len(self._asked) == REQUESTS_PER_MINUTE and now - self._asked[0] < 60:
            said = f"{REQUESTS_PER_MINUTE} blocks asked for in a minute"
            raise SubmitException(job_name, said)  # type: ignore[no-untyped-call]  # Parsl's
        self._asked.append(now)
        return super().submit(command, tasks_per_node, job_name)
