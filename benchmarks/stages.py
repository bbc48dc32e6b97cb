"""CPU seconds a shot by stage, on hits and misses of 1 and 4 Mpx, and the memory of one rank.

Simulated shots go through every stage on one rank; the times are those that the stages write in
their containers, reading and decompressing included. Spotfind stands beside its floor and DIALS'
own spot finder, both measured in the same run (`benchmarks.spotfind_floor`); the rest of DIALS is
quoted: stills_process 3.12 on `nanobragg_lysozyme`, Xeon 2.5 GHz. Memory: 1,000 shots of 4 Mpx, a
few frames over and over.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from benchmarks.data import find_data
from benchmarks.spotfind_floor import QUOTED_DIALS_S, Floor, dials_s, floor_of
from xfel_apps import mpi
from xfel_apps.containers.crystals import CRYSTALS
from xfel_apps.containers.manifest import open_product
from xfel_apps.containers.reflections import REFLECTIONS
from xfel_apps.containers.spots import SPOTS
from xfel_apps.process import Request, process
from xfel_apps.simulate import SimulateSettings, simulate

PRODUCTS = {"spotfind": SPOTS, "index": CRYSTALS, "integrate": REFLECTIONS}
FOUR_MPX = {"modules": (4, 2), "module_px": (512, 1024), "pixel_mm": 0.075, "distance_mm": 120.0}
DIALS_S = {"hit": {"index": 3.2, "integrate": 0.25}, "miss": {}}
RATE_HZ = 120.0
N_SET_UP = 8
REPEATS = 3
LYSO = "lyso130 1 Mpx"
INDEX = {"index": {"cell": "79.2 79.2 38 90 90 90", "space_group": "P43212"}}


def simulated(folder: Path, shots: int, detector: dict[str, object]) -> Path:
    """Return the master file of a new run, half hits and half blanks."""
    settings = {"shots": shots, "weak_fraction": 0.0, "detector": detector}
    return simulate(SimulateSettings.checked(settings), folder, mpi.serial())


def cpu_s(raw: Path, out: Path) -> dict[str, dict[str, float]]:
    """Return the mean CPU seconds of each stage on indexed hits and on misses.

    All is done several times and the quickest of each shot counts, as for the floor: what else the
    machine does takes processor time too, by way of the caches. The first events of each stage are
    left out: they pay for what is set up once a run.
    """
    runs = [_stages(raw, out / str(number)) for number in range(REPEATS)]
    frames = {
        stage: runs[0][stage].assign(
            cpu_s=pd.concat([run[stage]["cpu_s"] for run in runs], axis=1).min(axis=1)
        )
        for stage in PRODUCTS
    }
    spots, integrated = frames["spotfind"], frames["integrate"]
    kinds = {
        "hit": integrated.index[integrated["outcome"] == "integrated"],
        "miss": spots.index[spots["outcome"] == "miss"],
    }
    return {kind: _means(frames, events) for kind, events in kinds.items()}


def _stages(raw: Path, out: Path) -> dict[str, pd.DataFrame]:
    """Return the shots of every stage of a run, without those that pay for the set-up."""
    process(Request([str(raw)], out, 1, False, INDEX))
    frames = {}
    for stage, product in PRODUCTS.items():
        _, reader = open_product(out / "run" / f"{product.name}.json", product)
        frames[stage] = reader.shots().iloc[N_SET_UP:]
        reader.close()
    return frames


def _means(frames: dict[str, pd.DataFrame], events: "pd.Index[int]") -> dict[str, float]:
    """Return the mean of each stage over the events, and of all stages together."""
    means = {}
    for stage, frame in frames.items():
        times = frame["cpu_s"].reindex(events).dropna()
        if len(times):
            means[stage] = float(times.mean())
    return {**means, "all": sum(means.values())}


def repeated(raw: Path, shots: int) -> Path:
    """Return a master file of `shots` shots: the frames and scalars of `raw` over and over."""
    path = raw.with_name("repeated_master.h5")
    path.write_bytes(raw.read_bytes())
    with h5py.File(raw) as source, h5py.File(path, "r+") as target:
        data = source["entry/data/data"]
        n_frames, rest = data.shape[0], data.shape[1:]
        layout = h5py.VirtualLayout((shots, *rest), data.dtype)
        part = h5py.VirtualSource(raw.name, "/entry/data/data", data.shape, data.dtype)
        for start in range(0, shots, n_frames):
            stop = min(start + n_frames, shots)
            layout[start:stop] = part[: stop - start]
        del target["entry/data/data"]
        target["entry/data"].create_virtual_dataset("data", layout)
        beam = "entry/instrument/beam"
        names = ["entry/laser_on", "entry/timestamp"]
        names += [f"{beam}/incident_wavelength", f"{beam}/pulse_energy"]
        for name in names:
            attributes = dict(target[name].attrs)
            del target[name]
            target[name] = np.resize(source[name][()], shots)
            target[name].attrs.update(attributes)
    return path


def stage_arguments(raw: Path, run: Path) -> dict[str, list[str]]:
    """Return the arguments of each stage's app, in order."""
    file = {
        name: [f"--{name}", str(run / f"{name}.json")]
        for name in ("events", "spots", "crystals", "reflections")
    }
    found = [*file["events"], *file["spots"]]
    return {
        "ingest": [str(raw), "--run", "run", *file["events"]],
        "spotfind": found,
        "index": [*found, *file["crystals"], "--settings", json.dumps(INDEX["index"])],
        "integrate": [*found, *file["crystals"], *file["reflections"]],
    }


def resident_mib(command: list[str]) -> Iterator[tuple[float, float]]:
    """Run a command; yield its resident memory now and at most [MiB], until it ends."""
    with subprocess.Popen(command) as child:
        status = Path(f"/proc/{child.pid}/status")
        while child.poll() is None:
            kib = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if "VmRSS" in kib:
                now, most = (float(kib[key].split()[0]) / 1024 for key in ("VmRSS", "VmHWM"))
                yield now, most
            time.sleep(0.5)
    if child.returncode:
        sys.exit(f"{' '.join(command)}: exit code {child.returncode}")


def memory_mib(raw: Path, run: Path) -> float:
    """Print how memory goes in each stage on one rank; return the most it took [MiB]."""
    peaks = []
    for stage, arguments in stage_arguments(raw, run).items():
        app = [sys.executable, "-m", "mpi4py", "-m", f"xfel_apps.{stage}"]
        seen = np.array(list(resident_mib([*app, *arguments])))
        quarters = [f"{part[:, 0].max():.0f}" for part in np.array_split(seen, 4) if len(part)]
        print(f"  {stage:10s} in each quarter of its time: {', '.join(quarters)} MiB")
        peaks.append(float(seen[:, 1].max()))
    return max(peaks)


Columns = dict[tuple[str, str], dict[str, float]]


def floor_table(columns: Columns, floors: dict[str, Floor]) -> pd.DataFrame:
    """Return spotfind's CPU milliseconds beside those of its floor."""
    rows = {}
    for (name, kind), means in columns.items():
        floor, taken = floors[name], means["spotfind"]
        rest_s = floor.pass_s + floor.sums_s
        rows[name, kind] = {
            "read and decompress [ms]": 1e3 * floor.read_s,
            "one pass in memory [ms]": 1e3 * floor.pass_s,
            "three sums a pixel [ms]": 1e3 * floor.sums_s,
            "spotfind [ms]": 1e3 * taken,
            "over the floor": taken / floor.total_s,
            "over it, without reading": (taken - floor.read_s) / rest_s,
        }
    return pd.DataFrame(rows)


def cores(columns: Columns, hit_fraction: float) -> float:
    """Return the cores that 4 Mpx at 120 Hz take, every stage on hits and spotfind on misses."""
    hit, miss = (columns["4 Mpx", kind]["all"] for kind in ("hit", "miss"))
    return RATE_HZ * (hit_fraction * hit + (1.0 - hit_fraction) * miss)


def figures(
    columns: Columns, floors: dict[str, Floor], dials: dict[str, float]
) -> dict[str, float]:
    """Return the figures of the last line; ratios are those of the worse of hits and misses."""
    found = {
        f"{kind}_{size}mpx_s": round(columns[f"{size} Mpx", kind]["all"], 4)
        for size in (1, 4)
        for kind in ("hit", "miss")
    }
    blank_s = columns["4 Mpx", "miss"]["spotfind"]
    found["decompress_4mpx_s"] = round(floors["4 Mpx"].read_s, 4)
    found["blank_4mpx_ms_beyond_decompression"] = round(1e3 * (blank_s - floors["4 Mpx"].read_s), 2)
    found["spotfind_ratio_to_floor"] = round(
        max(means["spotfind"] / floors[name].total_s for (name, _), means in columns.items()), 2
    )
    for percent in (50, 5):
        found[f"cores_for_120hz_{percent}pct"] = round(cores(columns, percent / 100), 2)
    if (LYSO, "hit") in columns:
        found["spotfind_ratio_to_dials"] = round(
            min(dials[kind] / columns[LYSO, kind]["spotfind"] for kind in dials), 2
        )
        found["hit_lyso_s"] = round(columns[LYSO, "hit"]["all"], 4)
    return found


def main() -> None:
    """Print the tables, then one line of JSON."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shots", type=int, default=1000, help="shots of the memory run")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        runs = {
            "1 Mpx": simulated(folder / "one", 40, {}),
            "4 Mpx": simulated(folder / "four", 30, FOUR_MPX),
        }
        data = find_data("nanobragg_lysozyme")
        if data is not None:
            runs[LYSO] = data / "lyso130.h5"
        columns, floors = {}, {}
        for name, raw in runs.items():
            floors[name] = floor_of(raw)
            means = cpu_s(raw, folder / "out" / name.replace(" ", "_"))
            columns.update({(name, kind): each for kind, each in means.items()})
        measured = None if data is None else dials_s(data)
        dials = measured or QUOTED_DIALS_S
        how = "DIALS, spotfind quoted" if measured is None else "DIALS, spotfind measured"
        theirs = {(how, kind): {**DIALS_S[kind], "spotfind": each} for kind, each in dials.items()}
        print("CPU seconds a shot")
        print(pd.DataFrame(columns | theirs).round(4).to_string(na_rep="-"))
        print("spotfind and its floor, CPU of one core")
        print(floor_table(columns, floors).round(2).to_string())
        print(f"memory of one rank, {args.shots} shots of 4 Mpx")
        peak = memory_mib(repeated(runs["4 Mpx"], args.shots), folder / "memory")
    print(json.dumps({**figures(columns, floors, dials), "peak_rss_mib": round(peak)}))


if __name__ == "__main__":
    main()
