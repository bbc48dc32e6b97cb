"""Shots a second of a live crew against the three batch apps on the same run, in turn.

Both have the same number of workers. The crew reads each frame once and makes its rows durable
every second; the apps read the frames of hits twice and flush every 5 s. Processor seconds are
those of all ranks, start included; shots a second are counted while shots were processed.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stages import FOUR_MPX, INDEX, PRODUCTS, repeated, simulated, stage_arguments
from xfel_apps.containers.manifest import Manifest, open_product, write_text
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.spots import SPOTS
from xfel_apps.experiment import Experiment
from xfel_apps.ingest.growing import GrowingRun
from xfel_apps.launch import launch
from xfel_apps.live.chunk import Chunk, Facts
from xfel_apps.live.layout import LiveFolder, LiveRun, experiment_file
from xfel_apps.live.queue import LIVE_FIRST, Queue, entry_name

CHUNK_SHOTS = 200


@dataclass(frozen=True)
class Cost:
    """What a run cost.

    Attributes
    ----------
    wall_s : while shots were processed
    cpu_s : of all ranks, start included
    rows_cpu_s : of the stages, as their rows say
    """

    wall_s: float
    cpu_s: float
    rows_cpu_s: float


def ranked(workers: int, module: str, arguments: list[str]) -> float:
    """Run an app on the workers and a rank that hands out; return the CPU seconds of all ranks."""
    mpiexec = Path(sys.executable).with_name("mpiexec")
    app = [sys.executable, "-m", "mpi4py", "-m", f"xfel_apps.{module}", *arguments]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(mpiexec), "-n", str(workers + 1), *app]
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def batch(raw: Path, run: Path, workers: int) -> Cost:
    """Process a run with the batch's apps, one after the other."""
    shutil.rmtree(run, ignore_errors=True)
    wall_s = cpu_s = rows_cpu_s = 0.0
    for stage, arguments in stage_arguments(raw, run).items():
        if stage == "ingest":
            launch(stage, arguments)
            continue
        cpu_s += ranked(workers, stage, arguments)
        product = PRODUCTS[stage]
        _, reader = open_product(run / f"{product.name}.json", product)
        shots = reader.shots()
        reader.close()
        wall_s += float(shots["end_s"].max() - shots["start_s"].min())
        rows_cpu_s += float(shots["cpu_s"].sum())
    return Cost(wall_s, cpu_s, rows_cpu_s)


def put_chunks(raw: Path, trial: Path, facts: Facts) -> LiveRun:
    """Let the shots of a run wait in chunks."""
    shutil.rmtree(trial.parent, ignore_errors=True)
    experiment = Experiment.checked({"results": str(trial.parent), "trial": trial.name, **INDEX})
    text = json.dumps(experiment.model_dump(mode="json"))
    write_text(experiment_file(trial), text)
    run, live = LiveRun(trial, "run"), LiveFolder(trial.parent)
    write_text(live.daemon, json.dumps({"id": "bench", "now_s": time.time()}))
    growing = GrowingRun("run", experiment.ingest)
    shots = growing.look([raw], is_complete=True)
    for first in range(0, len(shots), CHUNK_SHOTS):
        part = shots[first : first + CHUNK_SHOTS]
        growing.write(run.chunk(first) / "events.json", part)
        chunk = Chunk(str(trial), "run", first, len(part), facts)
        Queue(live).put(entry_name(chunk, LIVE_FIRST, time.time()), chunk)
    return run


def crew(raw: Path, trial: Path, facts: Facts, workers: int) -> Cost:
    """Process a run with a crew."""
    run = put_chunks(raw, trial, facts)
    arguments = ["--results", str(trial.parent), "--name", "c1", "--pool", "p", "--daemon", "bench"]
    cpu_s = ranked(workers, "live.crew", [*arguments, "--live", '{"idle_s": 0.1}'])
    done = [json.loads((folder / "done.json").read_text()) for folder in run.chunks()]
    start_s, end_s = (f(chunk[k] for chunk in done) for f, k in ((min, "start_s"), (max, "end_s")))
    return Cost(end_s - start_s, cpu_s, _rows_cpu_s(run))


def _rows_cpu_s(run: LiveRun) -> float:
    """Return the processor time that the stages' rows say [s]."""
    total = 0.0
    for product in PRODUCTS.values():
        reader = ProductReader(run.all_parts(product.name), product)
        total += float(reader.shots()["cpu_s"].sum())
        reader.close()
    return total


def main() -> None:
    """Print each round, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=400)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--four-mpx", action="store_true", help="frames of 4 Mpx instead of 1")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        frames = simulated(folder / "raw", 60, FOUR_MPX if args.four_mpx else {})
        raw = repeated(frames, args.shots)
        costs: dict[str, list[Cost]] = {"batch": [], "crew": []}
        for _ in range(args.rounds):
            costs["batch"].append(batch(raw, folder / "batch", args.workers))
            facts = Facts.of_manifest(
                dict(Manifest.read(folder / "batch" / "spots.json", SPOTS).extra)
            )
            costs["crew"].append(crew(raw, folder / "results" / "000", facts, args.workers))
            for name, found in costs.items():
                cost = found[-1]
                print(
                    f"{name:6s} {args.shots / cost.wall_s:7.1f} shots/s, CPU ms a shot: "
                    f"{1e3 * cost.cpu_s / args.shots:6.1f} in all, "
                    f"{1e3 * cost.rows_cpu_s / args.shots:6.1f} in the stages",
                    flush=True,
                )
    figures = {
        f"{name}_{what}": round(statistics.median(values), 2)
        for name, found in costs.items()
        for what, values in {
            "shots_per_s": [args.shots / cost.wall_s for cost in found],
            "cpu_ms_per_shot": [1e3 * cost.cpu_s / args.shots for cost in found],
        }.items()
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
