"""The executor that Snakemake hands its jobs to."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors import HighThroughputExecutor, MPIExecutor
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

from snakemake_executor_plugin_parsl.checks import check_job
from snakemake_executor_plugin_parsl.command import TOO_LATE, TRY_AGAIN, Command, run_command
from snakemake_executor_plugin_parsl.configs import load_config, own_executors
from snakemake_executor_plugin_parsl.jobs import (
    is_plain,
    mpi_resources,
    number,
    plain_command,
    runtime_s,
)
from snakemake_executor_plugin_parsl.settings import ExecutorSettings

__all__ = ["Executor", "ExecutorSettings", "common_settings"]

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_default_storage_provider_args=True,
    pass_default_resources_args=True,
    pass_envvar_declarations_to_cmd=True,
    auto_deploy_default_storage_provider=False,
    init_seconds_before_status_checks=0,
)
POLL_S = 0.05
LATE_WAIT_S = 5.0
"""How long a job waits for another block when the one it came to ends too early."""


@dataclass
class Submission:
    """A job on its way through Parsl."""

    command: Command
    resources: dict[str, Any] | None
    future: Future[int]
    tries: int = 1
    not_before: float = 0.0
    n_ended: int = 0
    """Blocks that ended since nobody had use for the rest of their time."""


class Executor(RemoteExecutor):  # type: ignore[misc]  # Snakemake's interface has no types
    """Run every job as a Parsl task, in a block for MPI jobs or in one for small jobs."""

    def __post_init__(self) -> None:
        try:
            self._start()
        except BaseException:
            super().shutdown()  # Snakemake's thread would wait for jobs until Python has ended
            raise

    def _start(self) -> None:
        """Read the configuration, refuse what does not fit it, and start Parsl."""
        self.settings: ExecutorSettings = self.workflow.executor_settings
        folder = Path(str(self.workflow.main_snakefile)).resolve().parent
        config = load_config(self.settings, folder)
        executors = own_executors(config)
        self.mpi: list[Any] = [x for x in executors if isinstance(x, MPIExecutor)]
        self.small: list[Any] = [x for x in executors if not isinstance(x, MPIExecutor)]
        self._check_all()
        self.parsl = DataFlowKernel(config)

    def run_job(self, job: Any) -> None:
        """Hand a job to Parsl."""
        resources = self._mpi_resources(job)
        check_job(job, self._executors(resources), resources)
        log = str(Path(".snakemake", "parsl_logs", str(job.name), f"{job.jobid}.log"))
        folder = str(Path.cwd())
        if not job.is_group() and is_plain(job, self.workflow):
            self.workflow.async_run(job.prepare())
            command = plain_command(job, folder, log, placed_by_parsl=resources is not None)
        else:
            text = self.format_job_exec(job)
            command = Command(
                text=str(text),
                folder=folder,
                log=log,
                runtime_s=runtime_s(job),
                cores=None if resources is not None else int(job.threads),
                memory_mb=number(job, "mem_mb"),
            )
        submission = Submission(command, resources, self._submit(command, resources))
        info = SubmittedJobInfo(job, external_jobid=str(job.jobid), aux={"it": submission})
        self.report_job_submission(info)

    def _mpi_resources(self, job: Any) -> dict[str, Any] | None:
        """Return what an MPI job asks Parsl for; None for a job of the small kind."""
        if job.is_group() or not self.mpi or not job.resources.get("mpi"):
            return None
        return mpi_resources(job, self.mpi[0].mpi_launcher)

    def _executors(self, resources: dict[str, Any] | None) -> list[Any]:
        return self.small if resources is None else self.mpi

    def _check_all(self) -> None:
        """Refuse the workflow if one of its jobs cannot run in any block."""
        for job in self.dag.needrun_jobs():
            if not job.is_local and job.group is None:
                resources = self._mpi_resources(job)
                check_job(job, self._executors(resources), resources)

    def _submit(self, command: Command, resources: dict[str, Any] | None) -> Future[int]:
        executors = self._executors(resources)
        extra = {} if resources is None else {"parsl_resource_specification": dict(resources)}
        future: Future[int] = self.parsl.submit(
            run_command,
            app_args=(command,),
            app_kwargs=extra,
            executors=[executor.label for executor in executors],
            cache=False,
            ignore_for_cache=(),
        )
        return future

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report the jobs that have ended and yield the others."""
        self.next_seconds_between_status_checks = POLL_S
        for info in active_jobs:
            if self._goes_on(info):
                yield info

    def _goes_on(self, info: SubmittedJobInfo) -> bool:
        """Return whether a job is still under way; report it if not."""
        submission: Submission = info.aux["it"]
        if submission.not_before:
            self._start_when_due(submission)
            return True
        if not submission.future.done():
            return True
        error = submission.future.exception()
        code = None if error else submission.future.result()
        if code == 0:
            self.report_job_success(info)
            return False
        if code == TOO_LATE and submission.n_ended < self.settings.tries:
            submission.not_before = time.monotonic() + LATE_WAIT_S
            return True
        is_lost = isinstance(error, ManagerLost | WorkerLost)
        if (is_lost or code == TRY_AGAIN) and submission.tries <= self.settings.tries:
            return self._start_again(info, submission, error)
        self._report_failure(info, submission, error, code)
        return False

    def _start_when_due(self, submission: Submission) -> None:
        """Queue a job again that came to a block too late, which ends if it has nothing to do."""
        if time.monotonic() <= submission.not_before:
            return
        for executor in self._executors(submission.resources):
            if isinstance(executor, HighThroughputExecutor) and executor.outstanding() == 0:
                ended = executor.scale_in_facade(len(executor.status_facade), max_idletime=1.0)
                submission.n_ended += len(ended)
        submission.not_before = 0.0
        submission.future = self._submit(submission.command, submission.resources)

    def _start_again(
        self, info: SubmittedJobInfo, submission: Submission, error: BaseException | None
    ) -> bool:
        """Queue a job again that was lost with its block or gave way to another."""
        why = f"was lost ({error})" if error else f"was stopped (exit code {TRY_AGAIN})"
        self.logger.info(
            f"Job {info.job.jobid} ({info.job.name}) {why}; starting it again "
            f"({submission.tries} of {self.settings.tries})."
        )
        submission.tries += 1
        submission.future = self._submit(submission.command, submission.resources)
        return True

    def _report_failure(
        self,
        info: SubmittedJobInfo,
        submission: Submission,
        error: BaseException | None,
        code: int | None,
    ) -> None:
        why = f"{error} (started {submission.tries} times)" if error else f"exit code {code}"
        if code == TOO_LATE:
            why = "no block has its runtime left when it has started: set --parsl-walltime"
        log = Path(submission.command.folder, submission.command.log)
        logs = [str(log)] if log.is_file() else []
        self.report_job_error(info, msg=f"{why}. ", aux_logs=logs)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """End all blocks, and the jobs with them."""
        self._end_parsl()

    def shutdown(self) -> None:
        """End all blocks when the workflow is done."""
        super().shutdown()
        self._end_parsl()

    def _end_parsl(self) -> None:
        if not self.parsl.cleanup_called:
            with contextlib.suppress(Exception):
                self.parsl.cleanup()
