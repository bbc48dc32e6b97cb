"""Blocks are asked for only so often, and no more once Slurm has refused them for good."""

from types import SimpleNamespace

import pytest
from parsl.jobs.states import JobState, JobStatus
from parsl.providers import SlurmProvider
from parsl.providers.errors import SubmitException

from parsl_configs._blocks import (
    REQUESTS_PER_MINUTE,
    SlurmBlocks,
    give_up_when_refused,
    provider,
)
from tests.fake_slurm import put_on_path

FAILED, RUNNING = JobStatus(JobState.FAILED), JobStatus(JobState.RUNNING)


@pytest.fixture
def source(tmp_path, monkeypatch):
    put_on_path(tmp_path, monkeypatch)
    return provider(SlurmBlocks(qos=None, walltime="00:10:00"), nodes=1)


def test_blocks_are_asked_for_only_so_often(source, monkeypatch):
    monkeypatch.setattr(SlurmProvider, "submit", lambda *_: "1")
    for _ in range(REQUESTS_PER_MINUTE):
        assert source.submit("true", 1) == "1"
    with pytest.raises(SubmitException, match="in a minute"):
        source.submit("true", 1)


@pytest.mark.parametrize(
    ("said", "refusal"),
    [
        ("Invalid qos specification", "Invalid qos specification"),
        ("Requested reservation is invalid", "Requested reservation is invalid"),
        ("Access denied to requested reservation", "Access denied to requested reservation"),
        ("Unable to contact slurm controller (connect failure)", None),
        ("Job violates accounting/QOS policy (job submit limit, ...)", None),
        ("Socket timed out on send/recv operation", None),
    ],
)
def test_only_what_slurm_refuses_for_good_is_given_up(source, tmp_path, monkeypatch, said, refusal):
    error = f"sbatch: error: Batch job submission failed: {said}"
    put_on_path(tmp_path, monkeypatch, sbatch=f"#!/bin/sh\necho '{error}' >&2; exit 1")
    source.script_dir = str(tmp_path)
    with pytest.raises(SubmitException):
        source.submit("true", 1)
    assert source.refusal == refusal


@pytest.mark.parametrize(
    ("refusal", "status", "gives_up"),
    [
        ("Invalid qos specification", [FAILED], True),
        ("Invalid qos specification", [FAILED, RUNNING], False),
        (None, [FAILED, FAILED, FAILED], False),
    ],
)
def test_tasks_fail_only_when_no_block_is_left(refusal, status, gives_up):
    said: list[Exception] = []
    executor = SimpleNamespace(
        provider=SimpleNamespace(refusal=refusal),
        bad_state_is_set=False,
        set_bad_state_and_fail_all=said.append,
    )
    give_up_when_refused(executor, dict(enumerate(status)))
    assert [str(error) for error in said] == [f"Slurm refuses blocks: {refusal}"] * gives_up
