"""What Slurm would refuse is said in one line that names the valid choices, and not submitted."""

import pytest

from parsl_configs import slurm
from tests.fake_slurm import know_address

TOO_MANY_NODES = """
rule one:
    output: "one.txt"
    shell: "touch {output}"
rule two:
    input: "one.txt"
    output: "two.txt"
    resources: mpi="srun", nodes=3, tasks=3
    shell: "{resources.mpi} touch {output}"
"""


@pytest.fixture
def on_the_cluster(slurm, monkeypatch):
    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, slurm.environment[name])
    monkeypatch.setenv("LOGNAME", "nobody")
    know_address(monkeypatch)
    slurm.reserve("beamtime", slurm.nodes[:2])


@pytest.mark.usefixtures("on_the_cluster")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"qos": "fast"}, "no QOS fast; yours: preempt, realtime, regular, urgent "),
        ({"account": "nope"}, "no account nope; yours: xfel "),
        ({"account": "other"}, "no account other; yours: xfel "),
        (
            {"pool": "reservation", "reservation": "tomorrow"},
            "no reservation tomorrow for you; there are: beamtime ",
        ),
        ({"constraint": "gpu"}, "no nodes of kind gpu; there are: none "),
        ({"nodes": 5}, "no blocks of 5 nodes: the cluster has 4 "),
    ],
)
def test_what_slurm_refuses(options, message):
    with pytest.raises(ValueError, match=message) as error:
        slurm.make_config(**options)
    assert "\n" not in str(error.value)


@pytest.mark.usefixtures("on_the_cluster")
@pytest.mark.parametrize(
    "options",
    [
        {"nodes": 4},  # some of them reserved by now
        {"nodes": 4, "pool": "preempt"},
        {"qos": "urgent", "account": "xfel"},
    ],
)
def test_what_slurm_takes(options):
    mpi, _ = slurm.make_config(**options).executors
    assert mpi.provider.node.cores == 4


def test_jobs_that_do_not_fit_are_refused_before_anything_is_submitted(slurm, start):
    before = slurm.say("sacct", "-n", "-X", "-a")
    _, process = start(TOO_MANY_NODES, "two.txt", "--parsl-nodes", "2")
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    lines = said.splitlines()
    at = lines.index("RefusalError:")
    assert lines[at + 1] == (
        "rule two: nodes=3, but blocks have 2: set --parsl-nodes or ask for fewer"
    )
    assert "".join(lines[at + 2 :]) == ""
    assert slurm.say("sacct", "-n", "-X", "-a") == before
