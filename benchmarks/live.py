"""Latency of live processing on this machine while a run is taken, and the rate it can keep.

`xfelflow live` runs as people start it. First a run grows at `--rate-hz`: every shot's time from
its frame complete on disk to integrated (or told a miss) is its latency. Then runs lie there whole,
and shots a second are counted from the first chunk's start to the last one's end; the same run
through the batch's apps, with the same number of workers, is the peer. The crew is warm for both.
Simulated frames of 1 Mpx, half of them hits.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from benchmarks.crew import batch
from benchmarks.stages import simulated
from tests.live.whole import WholeLive, wait_for
from xfel_apps.latency import latencies, save, show_latency

AT_ONCE_HZ = 1e5
LIVE = {"chunk_shots": 50, "chunk_wait_s": 1.0, "quiet_s": 5.0, "merge_wait_s": 10.0}


class Bench(WholeLive):
    """Live processing with a user's settings."""

    def __post_init__(self) -> None:
        super().__post_init__()
        path = self.folder / "experiment.yaml"
        data = yaml.safe_load(path.read_text())
        data["live"] |= LIVE
        del data["worker"]
        path.write_text(yaml.safe_dump(data))


def main() -> None:
    """Print the table of latencies, and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate-hz", type=float, default=20.0, help="of the run that grows")
    parser.add_argument("--shots", type=int, default=600, help="of the run that grows")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--plot", type=Path, help="where the histogram is drawn")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        raw = simulated(place / "simulated", 100, {})
        live = Bench(place, options=("--workers", str(args.workers)))
        live.start()
        try:
            result = measure(live, raw, args)
        finally:
            live.end()
        cost = batch(live.folder / "raw" / "whole.h5", place / "batch", args.workers)
    result["batch_shots_per_s"] = round(args.shots / cost.wall_s, 2)
    result["ratio"] = round(result["shots_per_s"] / result["batch_shots_per_s"], 3)
    print(json.dumps(result))


def measure(live: Bench, raw: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures: a run to warm up, one that grows, and one that is all there."""
    for run, rate_hz, shots in (
        ("warm", AT_ONCE_HZ, 20),
        ("grows", args.rate_hz, args.shots),
        ("whole", AT_ONCE_HZ, args.shots),
    ):
        print(f"run {run}: {shots} shots at {rate_hz:g} Hz", flush=True)
        live.replay(raw, run, rate_hz, "--shots", str(shots)).wait()
        wait_for(f"run {run} is done", lambda name=run: live.is_finished(name), 1200.0)
    frame = latencies(live.trial / "grows")
    last = frame[["spotfind", "index", "integrate"]].max(axis=1)
    Console().print(show_latency(frame))
    if args.plot:
        save(frame, args.plot)
    return {
        "latency_s_median": round(float(last.median()), 3),
        "latency_s_p90": round(float(last.quantile(0.9)), 3),
        "latency_merged_s_median": round(float(frame["merge"].median()), 3),
        "rate_hz": args.rate_hz,
        "shots_per_s": round(args.shots / processing_s(live.trial / "whole"), 2),
        "workers": args.workers,
    }


def processing_s(run: Path) -> float:
    """Return the time from the start of a run's first chunk to the end of its last [s]."""
    files = (run / "live" / "chunks").glob("*/done.json")
    done = [json.loads(path.read_text()) for path in files]
    return float(max(item["end_s"] for item in done) - min(item["start_s"] for item in done))


if __name__ == "__main__":
    main()
