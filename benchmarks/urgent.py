"""How long an urgent job waits for nodes that preemptible work fills, and what that work loses.

`make bench-urgent`, as root with Debian's Slurm packages: the project's own test cluster, all of it
reserved. As the cluster's user, trials of simulated runs go through `--profile slurm` in blocks of
the pool `preempt` inside the reservation, one rank that hands out and one that works on a node.
Whenever ranks are at work, a job of the reservation that wants all nodes is submitted, and its
wait is measured from before `sbatch` to its first command. When a trial is done, every part file is
read, adopted or not: each event of the runs, each hit and each lattice must be there once. Last
line: JSON.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.slurm import packages
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import user
from tests.slurm.trials import Trial, simulate_runs
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS

BLOCK = ("--parsl-pool", "preempt", "--parsl-nodes", "3", "--parsl-tries", "100")
GOES_ON = {
    "spots": (Outcome.HIT_NOT_INDEXED,),
    "crystals": (Outcome.INDEXED,),
    "reflections": (),
}
"""Outcomes after which the next stage looks at a shot."""
RESERVATION = "beamtime"
URGENT_S = 2
LIMIT_S = 600.0


def growth(trial: Trial) -> int:
    """Return the bytes in all part files."""
    return sum(path.stat().st_size for path in trial.results.glob("*/*/rank-*.h5"))


def is_at_work(trial: Trial, workflow: subprocess.Popen[str], busy: int) -> bool:
    """Return True once part files grow and `busy` nodes are taken, False if the trial has ended."""
    end, before = time.monotonic() + LIMIT_S, growth(trial)
    while True:
        time.sleep(0.2)
        if workflow.poll() is not None:
            return False
        if time.monotonic() > end:
            sys.exit(f"no rank at work in {LIMIT_S:.0f} s\n{trial.log.read_text()}")
        nodes = trial.cluster.say("squeue", "-h", "-t", "R", "-q", "preempt", "-o", "%D").split()
        now = growth(trial)
        if now > before and sum(map(int, nodes)) >= busy:
            return True
        before = now


def urgent_wait_s(cluster: Cluster, number: int) -> float:
    """Submit a job that wants the whole reservation; return how long it waited [s]."""
    started = cluster.home / f"urgent-{number}"
    begin = time.time()
    cluster.run(
        "sbatch", f"--reservation={RESERVATION}", f"--nodes={len(cluster.nodes)}", "--exclusive",
        "--time=1", "--output=/dev/null", "--wrap",
        f"date +%s.%N > {started}.part; mv {started}.part {started}; sleep {URGENT_S}",
    )  # fmt: skip
    end = time.monotonic() + LIMIT_S
    while not started.exists():
        if time.monotonic() > end:
            sys.exit(f"urgent job {number} did not start in {LIMIT_S:.0f} s")
        time.sleep(0.05)
    return float(started.read_text()) - begin


def disturb(cluster: Cluster, runs: dict[str, Path], tries: int) -> tuple[list[Trial], list[float]]:
    """Run one trial after the other until there were enough urgent jobs; return their waits."""
    chance = random.Random(0)
    trials: list[Trial] = []
    waits: list[float] = []
    while len(waits) < tries:
        trial = Trial.make(cluster, f"trial-{len(trials)}", runs)
        trial.environment.update(XFELFLOW_NODES="1", XFELFLOW_RANKS="2")
        trials.append(trial)
        with trial.snakemake("slurm", *BLOCK) as workflow:
            while len(waits) < tries and is_at_work(trial, workflow, busy=3):
                time.sleep(chance.uniform(0, 1))
                waits.append(urgent_wait_s(cluster, len(waits)))
                print(f"urgent job {len(waits)} waited {waits[-1]:.2f} s", flush=True)
            if code := workflow.wait(timeout=LIMIT_S):
                sys.exit(f"snakemake: exit code {code}\n{trial.log.read_text()}")
    return trials, waits


def lost_and_twice(trial: Trial, shots: int) -> tuple[int, int]:
    """Return how many events are in no part file of a product, and how many are in too many."""
    lost = twice = 0
    for run in sorted(path.parent for path in trial.results.glob("*/events.json")):
        wanted = set(range(shots))
        for product in (SPOTS, CRYSTALS, REFLECTIONS):
            outcomes: dict[int, str] = {}
            for path in (run / product.name).glob("rank-*.h5"):
                reader = ProductReader([path], product)
                found = reader.shots()["outcome"]
                reader.close()
                twice += len(outcomes.keys() & set(found.index))
                outcomes.update(found)
            lost += len(wanted - outcomes.keys())
            goes_on = GOES_ON[product.name]
            wanted = {event for event, outcome in outcomes.items() if Outcome(outcome) in goes_on}
    return lost, twice


def main() -> None:
    """Print the waits, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--shots", type=int, default=80, help="of a run")
    args = parser.parse_args()
    if reason := packages.reason_against():
        sys.exit(f"no Slurm cluster: {reason}")
    with Cluster() as cluster:
        runs = simulate_runs(cluster.home / "raw", args.runs, args.shots)
        cluster.reserve(RESERVATION, cluster.nodes)
        print(f"{len(cluster.nodes)} pretend nodes, {args.runs} runs of {args.shots}, {user()}")
        trials, waits = disturb(cluster, runs, args.tries)
        losses = [lost_and_twice(trial, args.shots) for trial in trials]
        figures = {
            "wait_s_median": round(statistics.median(waits), 2),
            "wait_s_max": round(max(waits), 2),
            "tries": len(waits),
            "events_lost": sum(lost for lost, _ in losses),
            "events_twice": sum(twice for _, twice in losses),
        }
        print(f"waits, sorted [s]: {' '.join(f'{wait:.2f}' for wait in sorted(waits))}")
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
