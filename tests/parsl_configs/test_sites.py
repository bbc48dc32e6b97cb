"""What the sites' configurations ask Slurm for; options as the sites' and Slurm's manuals say."""

import pytest
from parsl.executors import HighThroughputExecutor, MPIExecutor

from parsl_configs import frontier, perlmutter, slurm
from tests.fake_slurm import put_on_path

SITES = {"slurm": slurm, "perlmutter": perlmutter, "frontier": frontier}


@pytest.fixture(autouse=True)
def submitted(tmp_path, monkeypatch):
    """Submit a block of an executor of a site; return its options and what it runs."""
    put_on_path(tmp_path, monkeypatch)

    def submit(make_config, label: str = "mpi", **options: object) -> list[str]:
        [executor] = [x for x in make_config(**options).executors if x.label == label]
        executor.provider.script_dir = str(tmp_path)
        executor.provider.submit("MANAGER", 1)
        lines = (tmp_path / "script").read_text().splitlines()
        return [line.removeprefix("#SBATCH ") for line in lines if line]

    return submit


@pytest.mark.parametrize(
    ("site", "options", "expected"),
    [
        ("slurm", {"pool": "preempt"}, {"--qos=preempt", "--signal=BR:INT@60", "--nodes=2"}),
        ("slurm", {"pool": "realtime", "nodes": 3}, {"--qos=realtime", "--nodes=3"}),
        (
            "slurm",
            {"pool": "reservation", "reservation": "beam", "account": "xfel"},
            {"--reservation=beam", "--account=xfel", "--signal=B:INT@60"},
        ),
        ("slurm", {"pool": "regular", "qos": "ours"}, {"--qos=ours"}),
        (
            "perlmutter",
            {"pool": "preempt", "walltime": "02:00:00", "account": "m1234"},
            {
                "--qos=preempt",
                "--signal=BR:INT@60",
                "--constraint=cpu",
                "--time=120",
                "--account=m1234",
                "export SLURM_MPI_TYPE=pmi2",
            },
        ),
        (
            "perlmutter",
            {"pool": "realtime", "constraint": "gpu&hbm80g"},
            {"--qos=realtime", "--constraint=gpu&hbm80g", "--gpus-per-node=4"},
        ),
        (
            "perlmutter",
            {"pool": "reservation", "reservation": "lcls"},
            {"--reservation=lcls", "--qos=regular"},
        ),
        (
            "frontier",
            {"pool": "regular", "account": "chm123"},
            {"--gpus-per-node=8", "--constraint=nvme", "--account=chm123"},
        ),
        ("frontier", {"pool": "preempt", "qos": "ours"}, {"--qos=ours", "--signal=BR:INT@60"}),
    ],
)
def test_blocks_of_a_pool(submitted, site, options, expected):
    script = submitted(SITES[site].make_config, **options)
    assert expected <= set(script)
    assert {"--no-requeue", "--exclusive", "--mem=0"} <= set(script)
    assert "MANAGER &" in script


def test_only_preemptible_blocks_enter_reservations(submitted):
    assert "--signal=B:INT@60" in submitted(slurm.make_config, pool="regular")
    assert not [x for x in submitted(frontier.make_config) if x.startswith("--qos")]


def test_blocks_say_when_they_end(submitted):
    script = submitted(slurm.make_config, walltime="00:30:00")
    assert "export PARSL_BLOCK_END=$(( $(date +%s) + 1800 ))" in script


def test_small_jobs_have_blocks_of_one_node_and_a_worker_a_core(submitted):
    assert "--nodes=1" in submitted(perlmutter.make_config, "small", nodes=8)
    [_, small] = perlmutter.make_config().executors
    assert isinstance(small, HighThroughputExecutor)
    assert small.max_workers_per_node == 128


def test_pools_can_be_used_side_by_side():
    """As live processing does: one executor a pool, each with its own label."""
    made = {
        pool: slurm.SITE.mpi(slurm.SITE.blocks(pool, walltime="01:00:00"), 4, label=pool)
        for pool in ("realtime", "preempt")
    }
    assert all(isinstance(executor, MPIExecutor) for executor in made.values())
    assert {x.label: x.provider.qos for x in made.values()} == {
        "realtime": "realtime",
        "preempt": "preempt",
    }


@pytest.mark.parametrize(
    ("site", "options", "message"),
    [
        ("slurm", {"pool": "fast"}, "no pool fast; known: reservation, realtime, preempt, regular"),
        ("slurm", {"pool": "reservation"}, "needs the reservation's name: --parsl-reservation"),
        ("slurm", {"walltime": "1h"}, "walltime 1h: not HH:MM:SS"),
        ("slurm", {"walltime": "00:01:00"}, "60 s before its end, so make it longer"),
        ("slurm", {"nodes": 0}, "blocks of 0 nodes: at least 1"),
        ("frontier", {"pool": "preempt"}, "no pool preempt here .*; known: reservation, regular"),
        ("perlmutter", {"constraint": "knl"}, "no nodes of kind knl; known: cpu, gpu, gpu&hbm80g"),
    ],
)
def test_bad_choices_are_one_line_that_names_the_good_ones(site, options, message):
    with pytest.raises(ValueError, match=message) as error:
        SITES[site].make_config(**options)
    assert "\n" not in str(error.value)
