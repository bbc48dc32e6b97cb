"""Snakemake jobs in blocks of this machine that stand for a batch system's."""

import pytest

from tests.fake_slurm import put_on_path
from tests.parsl_executor.test_local import start

# Blocks that end some time after they began, and note their beginning.
ENDING = """
from parsl_configs import local
def make_config():
    config = local.make_config()
    provider = config.executors[0].provider
    provider.worker_init = "export PARSL_BLOCK_END=$(( $(date +%s) + {life_s} )); echo x >> blocks"
    config.strategy_period = 1
    return config
"""
ONE_LATE = """
rule all:
    input: "late.txt"
rule early:
    output: "early.txt"
    resources: runtime=1
    shell: "sleep 45; touch {output}"
rule late:
    input: "early.txt"
    output: "late.txt"
    resources: runtime=1
    shell: "cp blocks {output}"
"""


@pytest.mark.slow
def test_a_job_too_late_for_a_block_ends_that_and_goes_to_the_next(tmp_path):
    (tmp_path / "blocks_of_test").mkdir()
    (tmp_path / "blocks_of_test" / "ending.py").write_text(ENDING.format(life_s=100))
    process = start(tmp_path, ONE_LATE, config="blocks_of_test.ending")
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    assert (tmp_path / "late.txt").read_text() == "x\nx\n"


@pytest.mark.slow
def test_a_job_that_no_block_has_the_time_for_fails(tmp_path):
    (tmp_path / "blocks_of_test").mkdir()
    (tmp_path / "blocks_of_test" / "ending.py").write_text(ENDING.format(life_s=30))
    config = "blocks_of_test.ending"
    process = start(tmp_path, ONE_LATE, "early.txt", "--parsl-tries", "1", config=config)
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "no block has its runtime left" in said


REFUSES = """#!/bin/sh
[ "$1" = --test-only ] && exit 0
echo "sbatch: error: Batch job submission failed: Requested reservation is invalid" >&2
exit 1
"""


def test_jobs_fail_with_slurms_words_when_it_refuses_their_blocks(tmp_path, monkeypatch):
    """As when a reservation ends while the workflow runs."""
    put_on_path(tmp_path, monkeypatch, sbatch=REFUSES)
    process = start(tmp_path, "rule one:\n    shell: 'true'", config="parsl_configs.slurm")
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Slurm refuses blocks: Requested reservation is invalid" in said
