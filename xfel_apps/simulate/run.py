"""Simulate a run: ranks share the data files out, rank 0 joins them."""

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from xfel_apps import mpi
from xfel_apps.errors import SettingsError
from xfel_apps.progress import Progress
from xfel_apps.simulate.nexus import (
    DataFile,
    create_frames,
    data_files,
    pixel_dtype,
    write_master,
)
from xfel_apps.simulate.settings import SimulateSettings
from xfel_apps.simulate.shot import (
    Experiment,
    ShotTruth,
    detect,
    draw_truth,
    make_experiment,
    mean_photons,
    shot_rng,
)
from xfel_apps.simulate.truth import write_truth

MASTER, TRUTH = "run_master.h5", "truth.h5"


def simulate(
    settings: SimulateSettings, out: Path, comm: mpi.Comm, model: Path | None = None
) -> Path:
    """Write an NXmx run and its truth to the folder `out`; return the path of the master file.

    Parameters
    ----------
    settings : what to simulate
    out : folder, made if need be; a run that lies there is replaced
    comm : ranks that share the work; the run does not depend on how many
    model : PDB, mmCIF or MTZ file; None: a structure made up for the occasion
    """
    mpi.agree(comm, lambda: _clear(out))
    experiment = make_experiment(model, settings)
    files = data_files(out, settings.shots, settings.shots_per_file)
    mine = files[comm.rank :: comm.size]
    truths: dict[int, ShotTruth] = {}
    n_mine = sum(len(file.shots) for file in mine)
    with Progress("simulate", n_mine, shown=comm.rank == 0) as progress:
        for file in mine:
            for shot, truth in _write_file(file, experiment):
                truths[shot] = truth
                progress.report(truth.kind)
    gathered = comm.gather(truths)
    if gathered is not None:
        shots = {shot: truth for part in gathered for shot, truth in part.items()}
        _join(out, experiment, files, [shots[shot] for shot in range(settings.shots)])
    comm.Barrier()
    return out / MASTER


def _clear(out: Path) -> None:
    """Make the folder, or remove the run in it: a killed simulation leaves no master."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in [out / MASTER, out / TRUTH, *out.glob("run_data_*.h5")]:
            path.unlink(missing_ok=True)
    except OSError as err:
        raise SettingsError(
            f"{out}: cannot write a run there ({err}); choose another --out"
        ) from err


def _write_file(file: DataFile, experiment: Experiment) -> Iterator[tuple[int, ShotTruth]]:
    """Write one data file; yield each shot and its truth once its frame is stored."""
    settings = experiment.settings
    shape, dtype = experiment.detector.slab_shape, pixel_dtype(settings.detector)
    with h5py.File(file.path, "w", libver="latest") as raw:
        frames = create_frames(raw, len(file.shots), shape, dtype)
        for frame, shot in enumerate(file.shots):
            rng = shot_rng(settings.seed, shot)
            truth = draw_truth(experiment, shot, rng)
            photons = mean_photons(experiment, truth)
            frames[frame] = detect(experiment, photons, rng).astype(dtype)
            yield shot, truth


def _join(out: Path, experiment: Experiment, files: list[DataFile], shots: list[ShotTruth]) -> None:
    """Write the truth, then the master that makes the run complete."""
    mask = np.zeros(experiment.detector.slab_shape, dtype=bool)
    mask.flat[experiment.bad.dead] = True
    write_truth(out / TRUTH, experiment, shots)
    dtype = pixel_dtype(experiment.settings.detector)
    write_master(out / MASTER, files, experiment.detector, dtype, shots, mask)
