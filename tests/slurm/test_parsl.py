"""Snakemake jobs through Parsl's blocks on the Slurm cluster."""

import time

SNAKEFILE = """
rule all:
    input: "mpi.txt", expand("small/{i}.txt", i=range(4))
rule ranks:
    output: "mpi.txt"
    resources: mpi="srun", nodes=2, tasks=4, runtime=5
    shell:
        "{resources.mpi} -n {resources.tasks}"
        " sh -c 'echo $SLURMD_NODENAME $SLURM_PROCID $SLURM_NTASKS' > {output}"
rule small:
    output: "small/{i}.txt"
    resources: runtime=1
    shell: "echo $SLURM_JOB_QOS $SLURM_JOB_ID > {output}"
"""
GIVES_WAY = """
rule ranks:
    output: "out.txt"
    resources: mpi="srun", nodes=2, tasks=2, runtime=1
    shell: "{resources.mpi} -n 2 bash rank.sh; sort again > {output}"
"""
# A rank that flushes and exits with 75 when it is told to, and ends when it is started again.
GIVING_RANK = """
[ -e stopped.$SLURM_PROCID ] && { echo $SLURM_PROCID >> again; exit 0; }
trap 'touch stopped.$SLURM_PROCID; exit 75' INT
touch started.$SLURM_PROCID
for i in $(seq 600); do sleep 0.1; done
"""


def test_mpi_jobs_spread_over_their_nodes_and_small_ones_share(start):
    folder, process = start(SNAKEFILE, "--parsl-pool", "realtime", "--parsl-walltime", "00:08:00")
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    ranks = [line.split() for line in (folder / "mpi.txt").read_text().splitlines()]
    assert sorted(rank for _, rank, _ in ranks) == ["0", "1", "2", "3"]
    assert {size for _, _, size in ranks} == {"4"}
    assert len({node for node, _, _ in ranks}) == 2
    jobs = {(folder / "small" / f"{i}.txt").read_text() for i in range(4)}
    assert len(jobs) == 1
    assert jobs.pop().startswith("realtime ")


def test_a_preempted_job_goes_on(slurm, start):
    """An urgent job takes the nodes; the job's ranks exit with 75 and are started again."""
    folder, process = start(GIVES_WAY, "--parsl-pool", "preempt", "--parsl-walltime", "00:05:00")
    (folder / "rank.sh").write_text(GIVING_RANK)
    end = time.monotonic() + 150
    while len(list(folder.glob("started.*"))) < 2:
        assert time.monotonic() < end
        assert process.poll() is None
        time.sleep(0.1)
    slurm.run("srun", "-N4", "--exclusive", "--qos=urgent", "true", limit_s=120)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert (folder / "out.txt").read_text() == "0\n1\n", said
