"""Refusing jobs that no block can hold, before any block is asked for."""

from collections.abc import Iterator, Sequence
from typing import Any

from parsl.utils import wtime_to_minutes

from snakemake_executor_plugin_parsl.errors import RefusalError
from snakemake_executor_plugin_parsl.jobs import number, runtime_s


def check_job(job: Any, executors: Sequence[Any], resources: dict[str, Any] | None) -> None:
    """Raise RefusalError if a job does not fit in the blocks that it would go to.

    Parameters
    ----------
    job : Snakemake's job
    executors : Parsl's executors that the job may go to
    resources : Parsl's resource specification of an MPI job; None for other jobs
    """
    for executor in executors:
        provider = getattr(executor, "provider", None)
        # Only batch systems end their blocks and have nodes to choose from.
        if not hasattr(provider, "partition"):
            continue
        for problem in _problems(job, provider, resources):
            raise RefusalError(f"rule {job.name}: {problem}")


def _problems(job: Any, provider: Any, resources: dict[str, Any] | None) -> Iterator[str]:
    nodes, on_a_node = 1, int(number(job, "_cores") or 1)
    if resources is not None:
        nodes = resources["num_nodes"]
        on_a_node = resources["ranks_per_node"] * int(number(job, "cpus_per_task") or 1)
        if nodes > provider.nodes_per_block:
            yield (
                f"nodes={nodes}, but blocks have {provider.nodes_per_block}: "
                "set --parsl-nodes or ask for fewer"
            )
    if (runtime_s(job) or 0) >= 60 * wtime_to_minutes(provider.walltime):
        yield (
            f"runtime={number(job, 'runtime'):g} minutes does not fit in blocks of "
            f"{provider.walltime}: set --parsl-walltime or lower the runtime"
        )
    node = getattr(provider, "node", None)
    if node is None:
        return
    if per_core := number(job, "mem_mb_per_cpu"):
        memory_mb = per_core * on_a_node
    else:
        memory_mb = (number(job, "mem_mb") or 0) / nodes
    wanted = {"cores": on_a_node, "MB of memory": memory_mb}
    if node.gpus:
        wanted["GPUs"] = (number(job, "gpus") or 0) / nodes
    there = {"cores": node.cores, "MB of memory": node.memory_mb, "GPUs": node.gpus}
    for what, count in wanted.items():
        if count > there[what]:
            yield f"{count:g} {what} on a node, but nodes have {there[what]}"
