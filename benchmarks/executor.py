"""What a job costs on Slurm: through the plugin `parsl`, and through Snakemake's Slurm executor.

`make bench-executor`, as root with Debian's Slurm packages: brings up the project's own test
cluster and runs two workflows of jobs that only run `true`, as the cluster's user: one through
`--executor parsl` in one warm block, the other through `--executor slurm` with its shortest waits.
Both begin with a job that the others wait for; the time is from that one's end to the end of the
last, over their number: no start of Snakemake, no wait for a block. Last line: JSON.
"""

import argparse
import json
import sys

from tests.slurm import packages
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import start_snakemake, user

SNAKEFILE = """
rule all:
    input: expand("done/{{i}}", i=range({count}))
rule first:
    output: touch("first")
    shell: "true"
rule one:
    input: "first"
    output: touch("done/{{i}}")
    shell: "true"
"""
PARSL = (
    "--executor", "parsl", "--parsl-config", "parsl_configs.slurm", "--parsl-walltime", "00:20:00",
)  # fmt: skip
# The shortest waits that it takes (its own default is 40 s before the first look at a job).
SLURM = (
    "--executor", "slurm", "--slurm-init-seconds-before-status-checks", "1",
    "--seconds-between-status-checks", "1", "--max-jobs-per-timespan", "100/1s",
    "--default-resources", "slurm_account=xfel", "slurm_partition='all'", "runtime=5", "mem_mb=100",
)  # fmt: skip


def seconds_per_job(cluster: Cluster, name: str, count: int, options: tuple[str, ...]) -> float:
    """Return the seconds a job through one executor."""
    folder = cluster.home / name
    cluster.run("mkdir", str(folder))
    (folder / "Snakefile").write_text(SNAKEFILE.format(count=count))
    process = start_snakemake(cluster, folder, *options, "--jobs", "100", "--latency-wait", "20")
    said, _ = process.communicate(timeout=1800)
    if process.returncode:
        sys.exit(f"snakemake {' '.join(options)}: exit code {process.returncode}\n{said}")
    ends = [path.stat().st_mtime for path in (folder / "done").iterdir()]
    return (max(ends) - (folder / "first").stat().st_mtime) / len(ends)


def main() -> None:
    """Print what was done, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parsl-jobs", type=int, default=200)
    parser.add_argument("--slurm-jobs", type=int, default=20)
    args = parser.parse_args()
    if reason := packages.reason_against():
        sys.exit(f"no Slurm cluster: {reason}")
    with Cluster() as cluster:
        print(f"{len(cluster.nodes)} pretend nodes of {cluster.cpus} processors, user {user()}")
        parsl_s = seconds_per_job(cluster, "parsl", args.parsl_jobs, PARSL)
        print(f"parsl, {args.parsl_jobs} jobs in one block: {parsl_s:.3f} s a job", flush=True)
        cluster.drain()
        slurm_s = seconds_per_job(cluster, "slurm", args.slurm_jobs, SLURM)
        print(f"slurm, {args.slurm_jobs} jobs: {slurm_s:.3f} s a job", flush=True)
    figures = {
        "parsl_s_per_job": round(parsl_s, 4),
        "slurm_s_per_job": round(slurm_s, 4),
        "ratio": round(slurm_s / parsl_s, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
