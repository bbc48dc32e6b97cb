"""From a Snakemake job to a command and to what Parsl must know about it."""

import math
from typing import Any

from snakemake.shell import shell
from snakemake_interface_executor_plugins.settings import DeploymentMethod

from snakemake_executor_plugin_parsl.command import Command

# Names the nodes that Parsl gives to an MPI task (see parsl's MPIExecutor).
MPI_PREFIX = "$PARSL_MPI_PREFIX"


def is_plain(job: Any, workflow: Any) -> bool:
    """Return whether a job is only a shell command, so that no second Snakemake is needed."""
    methods = workflow.deployment_settings.deployment_method
    needs_software = (
        (job.conda_env and DeploymentMethod.CONDA in methods)
        or (job.container_img_url and DeploymentMethod.APPTAINER in methods)
        or (job.env_modules and DeploymentMethod.ENV_MODULES in methods)
    )
    is_measured_otherwise = job.benchmark and (
        (job.benchmark_repeats or 1) > 1 or workflow.output_settings.benchmark_extended
    )
    files = [*job.input, *job.output]
    return bool(
        job.is_shell
        and not needs_software
        and not is_measured_otherwise
        and not job.is_shadow
        and not job.is_pipe
        and not job.is_service
        and not _is_cached(job, workflow)
        and not any(getattr(file, "is_storage", False) for file in files)
    )


def _is_cached(job: Any, workflow: Any) -> bool:
    """Return whether Snakemake may take a job's output from its cache between workflows."""
    if hasattr(workflow, "get_cache_mode"):  # as in Snakemake 9.15, not in 9.27
        return bool(workflow.get_cache_mode(job.rule))
    return bool(job.rule.cache and workflow.workflow_settings.cache is not None)


def plain_command(job: Any, folder: str, log: str, *, placed_by_parsl: bool) -> Command:
    """Return the command of a job that is only a shell command.

    Parameters
    ----------
    job : Snakemake's job
    folder : working directory
    log : file for what the command prints
    placed_by_parsl : whether Parsl says which nodes an MPI command starts its ranks on
    """
    text = job.shellcmd
    if placed_by_parsl:
        resources = _Changed(job.resources, mpi=MPI_PREFIX)
        text = job.format_wildcards(job.rule.shellcmd, resources=resources)
    executable = str(job.resources.get("shell_exec") or shell.get_executable() or "/bin/sh")
    temporary = job.resources.get("tmpdir")
    parts = (shell._get_process_prefix(executable), text, shell._process_suffix)
    # Plain str and int only: Snakemake's own kinds of str drag the whole workflow along.
    return Command(
        text=" ".join(map(str, parts)).strip(),
        folder=folder,
        log=log,
        shell=executable,
        threads=int(job.threads),
        temporary=str(temporary) if temporary else None,
        benchmark=str(job.benchmark) if job.benchmark else None,
        runtime_s=runtime_s(job),
        cores=None if placed_by_parsl else int(job.threads),
        memory_mb=number(job, "mem_mb"),
    )


class _Changed:
    """A job's resources with some of them changed."""

    def __init__(self, resources: Any, **changed: str) -> None:
        self._resources = resources
        self.__dict__.update(changed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._resources, name)


def number(job: Any, name: str) -> float | None:
    """Return a resource of a job; None if it has none, or if it depends on files yet to be made."""
    try:
        return float(job.resources.get(name))
    except (TypeError, ValueError):
        return None


def runtime_s(job: Any) -> float | None:
    """Return the longest that a job takes, by its resources [s]."""
    minutes = number(job, "runtime")
    return None if minutes is None else 60.0 * minutes


def mpi_resources(job: Any, launcher: str) -> dict[str, Any]:
    """Return Parsl's resource specification of an MPI job.

    Its nodes are its own, so it has all their memory. Options that follow the launcher's name in
    the resource `mpi` are kept, if it is the launcher that Parsl starts.
    """
    nodes = int(number(job, "nodes") or 1)
    tasks = int(number(job, "tasks") or nodes)
    name, *options = str(job.resources.mpi).split()
    if name != launcher:
        options = []
    if cpus := number(job, "cpus_per_task"):
        options.append(f"--cpus-per-task={cpus:.0f}")
    if gpus := number(job, "gpus"):
        options.append(f"--gpus={gpus:.0f}")
    return {
        "num_nodes": nodes,
        "num_ranks": tasks,
        "ranks_per_node": math.ceil(tasks / nodes),
        "launcher_options": " ".join(options),
    }
