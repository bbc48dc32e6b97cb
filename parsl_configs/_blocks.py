"""Blocks on Slurm that give way in time, and are asked for no more than so often."""

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException
from parsl.utils import wtime_to_minutes

REQUESTS_PER_MINUTE = 10
WARNING_S = 60
"""Slurm says so long before a block ends, or when a reservation's job wants its nodes [s]."""
COMMAND_LIMIT_S = 60
"""Parsl gives up a command of Slurm after so long [s]; a block may be queued all the same then."""
# Slurm will never start such a block; other refusals (no answer, too many jobs) may pass.
REFUSED = re.compile(r"[Ii]nvalid|[Dd]enied|not (available|permitted)|More processors")

# The shell of a block is told (INT) before the block ends. It tells the ranks of MPI jobs, and
# Parsl's workers (URG), which tell their commands; these save what they have and end. Ranks that
# just start and do not listen yet are ended (TERM). Then it ends Parsl's manager, which has passed
# on all exit codes. No command starts meanwhile. `set -m`: else all would be deaf to INT.
GIVE_WAY = """
set -m
{command} &
manager=$!
set +m
give_way() {{
  touch "$PARSL_BLOCK_LEAVES"
  scancel --quiet --signal=INT "$SLURM_JOB_ID"
  workers=$(pgrep --delimiter , --parent $manager)
  pkill -URG --parent $manager
  for i in $(seq 80); do
    pgrep --parent "$workers" > /dev/null || break
    [ $i != 4 ] || scancel --quiet --signal=TERM "$SLURM_JOB_ID"
    sleep 0.25
  done
  sleep 0.5
  kill $manager
}} 2> /dev/null
trap give_way INT TERM
wait $manager
wait
rm -f "$PARSL_BLOCK_LEAVES"
"""


@dataclass(frozen=True)
class Node:
    """What the jobs of a node can have."""

    cores: int
    memory_mb: int
    gpus: int = 0


@dataclass(frozen=True)
class SlurmBlocks:
    """Where blocks are queued, how long they last and what they are made of."""

    qos: str | None
    walltime: str
    account: str | None = None
    reservation: str | None = None
    max_blocks: int = 1
    is_preemptible: bool = False
    constraint: str | None = None
    """Kind of nodes; by default any."""
    node: Node | None = None
    """What such a node has, where that is known."""
    worker_init: tuple[str, ...] = ()
    """Shell commands that a block begins with."""


def provider(blocks: SlurmBlocks, nodes: int) -> "CappedSlurmProvider":
    """Return what asks Slurm for blocks of so many nodes."""
    seconds = 60 * wtime_to_minutes(blocks.walltime)
    signal = "BR" if blocks.is_preemptible else "B"
    options = ["--no-requeue", "--mem=0", f"--signal={signal}:INT@{WARNING_S}"]
    if blocks.reservation is not None:
        options.append(f"--reservation={blocks.reservation}")
    if blocks.node is not None and blocks.node.gpus:
        options.append(f"--gpus-per-node={blocks.node.gpus}")
    init = (
        f"export PARSL_BLOCK_END=$(( $(date +%s) + {seconds} ))",
        "export PARSL_BLOCK_LEAVES=/tmp/parsl-block-$SLURM_JOB_ID-leaves",
        *blocks.worker_init,
    )
    return CappedSlurmProvider(
        node=blocks.node,
        qos=blocks.qos,
        account=blocks.account,
        constraint=blocks.constraint,
        walltime=blocks.walltime,
        nodes_per_block=nodes,
        init_blocks=0,
        min_blocks=0,
        max_blocks=blocks.max_blocks,
        cmd_timeout=COMMAND_LIMIT_S,
        scheduler_options="\n".join(f"#SBATCH {option}" for option in options),
        worker_init="\n".join(init),
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
    """Sees lost blocks within seconds, asks for only so many in a minute, and notes refusals.

    A scheduler's hiccup has made Parsl ask for dozens (https://github.com/Parsl/parsl/issues/2851).
    """

    def __init__(self, node: Node | None, **options: Any) -> None:
        super().__init__(**options)
        self.node = node
        self.refusal: str | None = None
        """Why Slurm will not start such blocks; None while it may."""
        self._asked: deque[float] = deque(maxlen=REQUESTS_PER_MINUTE)

    @property
    def options(self) -> list[str]:
        """Options of sbatch for a block."""
        lines = self.scheduler_options.splitlines()
        given = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
        return [*given, f"--nodes={self.nodes_per_block}", f"--time={self.walltime}"]

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
        try:
            return super().submit(command, tasks_per_node, job_name)
        except SubmitException as error:
            self.refusal = refusal(error.stderr or "")
            raise


def refusal(said: str) -> str | None:
    """Return why Slurm will not start a job, from what sbatch said; None if it may later.

    >>> refusal("sbatch: error: Batch job submission failed: Invalid qos specification")
    'Invalid qos specification'
    >>> refusal("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    """
    lines = [line.rpartition(": ")[2] for line in said.splitlines() if "Job " not in line]
    return next((line for line in reversed(lines) if REFUSED.search(line)), None)


def give_up_when_refused(executor: Any, status: dict[str, Any]) -> None:
    """Fail an executor's tasks when Slurm will start no more blocks for them and none is left."""
    reason = executor.provider.refusal
    if reason and not executor.bad_state_is_set and all(s.terminal for s in status.values()):
        executor.set_bad_state_and_fail_all(ValueError(f"Slurm refuses blocks: {reason}"))
