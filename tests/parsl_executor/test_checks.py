"""Jobs that no block can hold are refused in one line, before anything is submitted."""

import threading
from types import SimpleNamespace

import pytest
from parsl.providers import LocalProvider
from snakemake_executor_plugin_parsl.checks import check_job
from snakemake_executor_plugin_parsl.errors import RefusalError
from snakemake_executor_plugin_parsl.executor import Executor, ExecutorSettings, common_settings
from snakemake_executor_plugin_parsl.jobs import is_plain, mpi_resources
from snakemake_interface_executor_plugins.settings import DeploymentMethod, SharedFSUsage

from parsl_configs._blocks import Node, SlurmBlocks, provider
from tests.fake_slurm import put_on_path

BLOCKS = SlurmBlocks(qos=None, walltime="01:00:00", node=Node(cores=4, memory_mb=4000, gpus=2))


@pytest.fixture(autouse=True)
def _no_slurm(tmp_path, monkeypatch):
    put_on_path(tmp_path, monkeypatch)


class Resources(SimpleNamespace):
    def get(self, name, default=None):
        return getattr(self, name, default)


def job(**resources):
    return SimpleNamespace(name="index", resources=Resources(**{"_cores": 1, **resources}))


def check(job, nodes):
    resources = mpi_resources(job, "srun") if job.resources.get("mpi") else None
    check_job(job, [SimpleNamespace(provider=provider(BLOCKS, nodes))], resources)


@pytest.mark.parametrize(
    ("resources", "message"),
    [
        ({"mpi": "srun", "nodes": 3}, "nodes=3, but blocks have 2: set --parsl-nodes"),
        ({"runtime": 60}, "runtime=60 minutes does not fit in blocks of 01:00:00"),
        ({"_cores": 5}, "5 cores on a node, but nodes have 4"),
        ({"mpi": "srun", "tasks": 6, "nodes": 2, "cpus_per_task": 2}, "6 cores on a node"),
        ({"mem_mb": 4001}, "4001 MB of memory on a node, but nodes have 4000"),
        ({"_cores": 2, "mem_mb_per_cpu": 2001, "mem_mb": 1}, "4002 MB of memory on a node"),
        ({"mpi": "srun", "nodes": 2, "gpus": 5}, "2.5 GPUs on a node, but nodes have 2"),
    ],
)
def test_jobs_that_do_not_fit_are_refused(resources, message):
    with pytest.raises(RefusalError, match=f"rule index: {message}") as error:
        check(job(**resources), nodes=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "resources",
    [
        {"mpi": "srun", "nodes": 2, "tasks": 8, "mem_mb": 8000, "gpus": 4, "runtime": 59},
        {"_cores": 4, "mem_mb": 4000},
        {"mem_mb": "<TBD>", "runtime": "<TBD>"},  # of files that are not there yet
    ],
)
def test_jobs_that_fit_are_not(resources):
    check(job(**resources), nodes=2)


def test_one_machine_takes_every_job():
    """As Snakemake itself: more threads than cores only means all cores."""
    local = SimpleNamespace(provider=LocalProvider())
    check_job(job(_cores=999, runtime=1e6), [local], None)


def test_mpi_jobs_keep_their_launchers_options():
    wanted = mpi_resources(job(mpi="srun --mpi=pmi2", nodes=2, tasks=4, cpus_per_task=3), "srun")
    assert wanted == {
        "num_nodes": 2,
        "num_ranks": 4,
        "ranks_per_node": 2,
        "launcher_options": "--mpi=pmi2 --cpus-per-task=3",
    }
    other = mpi_resources(job(mpi="mpiexec --bind-to none", tasks=2), "srun")
    assert other["launcher_options"] == ""


PLAIN = {
    "conda_env": None, "container_img_url": None, "env_modules": None, "benchmark": None,
    "is_shell": True, "is_shadow": False, "is_pipe": False, "is_service": False, "input": [],
    "output": [], "rule": SimpleNamespace(cache=False),
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ({}, True),
        ({"conda_env": "env.yaml"}, False),
        ({"is_shadow": True}, False),
        ({"is_shell": False}, False),
        ({"is_pipe": True}, False),
        ({"output": [SimpleNamespace(is_storage=True)]}, False),
    ],
)
def test_what_needs_more_than_a_shell_goes_the_standard_way(changes, plain):
    workflow = SimpleNamespace(
        deployment_settings=SimpleNamespace(deployment_method={DeploymentMethod.CONDA}),
        output_settings=SimpleNamespace(benchmark_extended=False),
        workflow_settings=SimpleNamespace(cache=None),
    )
    assert is_plain(SimpleNamespace(**{**PLAIN, **changes}), workflow) == plain


def test_a_refusal_leaves_no_thread_that_waits_for_jobs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".snakemake").mkdir()
    remote = SimpleNamespace(
        max_status_checks_per_second=10, jobname="{jobid}", jobscript=None, immediate_submit=False
    )
    workflow = SimpleNamespace(
        dag=None,
        executor_plugin=SimpleNamespace(common_settings=common_settings),
        executor_settings=ExecutorSettings(config="nowhere"),
        main_snakefile=str(tmp_path / "Snakefile"),
        remote_execution_settings=remote,
        storage_settings=SimpleNamespace(shared_fs_usage=SharedFSUsage.all()),
    )
    with pytest.raises(RefusalError, match="no module parsl_configs"):
        Executor(workflow, logger=None)
    assert not [thread for thread in threading.enumerate() if "_wait_thread" in thread.name]
