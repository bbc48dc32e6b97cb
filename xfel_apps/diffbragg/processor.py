"""What diffbragg does with one shot: its lattices and frame to refined lattices."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xfel_apps.containers.events import ShotIndex
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.refined import Pixels, PredictedSpots, RefinedCrystals
from xfel_apps.containers.reflections import IntegratedCrystals, Reflections
from xfel_apps.containers.rows import RowSource
from xfel_apps.diffbragg.boxes import Frame, expected_spots
from xfel_apps.diffbragg.intensities import ExpectedIntensities, best_mode, modes
from xfel_apps.diffbragg.judge import agreement, why_rejected
from xfel_apps.diffbragg.lattice import LatticeTask, Refined
from xfel_apps.diffbragg.restraints import Restraints
from xfel_apps.diffbragg.rows import crystal_rows, pixel_rows, spot_rows
from xfel_apps.diffbragg.settings import DiffbraggSettings
from xfel_apps.errors import ShotError
from xfel_apps.geometry import Detector
from xfel_apps.geometry.prediction import Predictions
from xfel_apps.pixel_model.crystal import PixelCrystal, turned_deg
from xfel_apps.sources import FrameCache

Array = NDArray[np.float64]

FWHM = 2.3548
"""Full width at half height of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class RunInput:
    """What diffbragg reads of a run.

    Attributes
    ----------
    events : of the run
    reflections : where its lattices and integrated intensities come from
    hot_pixels : (panel, slow, fast) of pixels that are masked
    gain_adu : median gain of the run's panels [ADU a photon]
    cell, cell_sigma : (6,) median of the run's cells and their spread
    """

    events: ShotIndex
    reflections: RowSource
    hot_pixels: Sequence[Sequence[int]]
    gain_adu: float
    cell: Array
    cell_sigma: Array


@dataclass(frozen=True)
class Task:
    """One lattice that is to be refined.

    Attributes
    ----------
    number : of the lattice in its shot
    lattice : how to refine it
    start : as it was integrated, in the setting of the merged data
    mode : which setting that is
    """

    number: int
    lattice: LatticeTask
    start: PixelCrystal
    mode: int


@dataclass(frozen=True)
class _Done:
    """A refined lattice and its rows."""

    refined: Refined
    crystal: RefinedCrystals
    spots: PredictedSpots
    pixels: Pixels

    @classmethod
    def of(cls, task: Task, shot_id: bytes) -> "_Done":
        """Refine a lattice; raise `ShotError` where it is not to be believed."""
        refined = task.lattice.refine(task.start)
        after = agreement(refined.shot, refined.after.state)
        angle_deg = turned_deg(refined.after.state.crystal, task.start)
        reason = why_rejected(refined, after, angle_deg, task.lattice.settings)
        if reason is not None:
            raise ShotError(f"diffbragg: lattice {task.number} is rejected: {reason}")
        before = agreement(refined.shot, refined.before)
        given = {"mode": task.mode, "shot_id": shot_id}
        return cls(
            refined,
            crystal_rows(task.number, refined, before, after, **given),
            spot_rows(task.number, refined, after),
            pixel_rows(refined),
        )


class ShotRefiner:
    """Refines the integrated shots of a run.

    Parameters
    ----------
    run : what is read
    frames : of the run
    expected : merged intensities
    settings : how to refine
    """

    def __init__(
        self,
        run: RunInput,
        frames: FrameCache,
        expected: ExpectedIntensities,
        settings: DiffbraggSettings,
    ) -> None:
        self._run = run
        self._frames = frames
        self._expected = expected
        self._settings = settings
        self._operators = modes(expected)

    def process(self, event: int) -> ShotResult:
        """Return the refined lattices of one integrated shot."""
        shot_id = self._run.events.shot_id(event).encode()
        done, problems = [], []
        for task in self.tasks(event):
            try:
                done.append(_Done.of(task, shot_id))
            except ShotError as err:
                problems.append(str(err))
        if not done:
            return ShotResult(Outcome.FAILED, "; ".join(problems))
        tables = {
            "crystals": RefinedCrystals.concatenate([item.crystal for item in done]),
            "spots": PredictedSpots.concatenate([item.spots for item in done]),
            "pixels": Pixels.concatenate([item.pixels for item in done]),
        }
        columns = {
            "n_lattices": len(done),
            "n_boxes": len(tables["spots"]),
            "readout_sigma": np.sqrt(done[0].refined.shot.readout_variance),
            "oversample": done[0].refined.shot.beam.oversample,
        }
        return ShotResult(Outcome.INTEGRATED, "; ".join(problems), columns, tables)

    def tasks(self, event: int) -> list["Task"]:
        """Return what is to be refined of one integrated shot, a lattice each."""
        lattices = self._run.reflections.rows("crystals", event, IntegratedCrystals)
        measured = self._run.reflections.rows("reflections", event, Reflections)
        frame = self._frame(event, float(lattices.wavelength_ang[0]))
        starts = [self._start(lattices, row, measured) for row in range(len(lattices))]
        limits = [self._settings.d_min_ang or float(d) for d in lattices.d_min_ang]
        tasks = []
        for number, (crystal, mode) in enumerate(starts):
            task = LatticeTask(
                frame,
                self._expected,
                self._others(starts, limits, number, frame),
                limits[number],
                self._restraints(crystal),
                self._settings,
            )
            tasks.append(Task(number, task, crystal, mode))
        return tasks

    def before_flush(self) -> None:
        """Keep nothing beside the containers."""

    def _start(
        self, lattices: IntegratedCrystals, row: int, measured: Reflections
    ) -> tuple[PixelCrystal, int]:
        """Return a lattice as it was integrated, in the setting of the merged data, and which."""
        own = measured.take((measured.lattice == lattices.lattice[row]) & (measured.flags == 0))
        hkl = np.column_stack([own.h, own.k, own.l]).astype(np.int64)
        mode = best_mode(self._expected, self._operators, hkl, own.intensity)
        operator = self._operators[mode]
        a_matrix = lattices.a_matrix[row] @ np.linalg.inv(operator).T
        settings = self._settings
        lengths = np.linalg.norm(np.linalg.inv(a_matrix), axis=1)
        eta = max(float(lattices.mosaicity_deg[row]) / FWHM, settings.mosaic_deg)
        n_cells = np.clip(float(lattices.block_size_ang[row]) / lengths, 5.0, 200.0)
        space_group = lattices.space_group[row].decode()
        crystal = PixelCrystal.from_a_matrix(a_matrix, space_group, n_cells, eta)
        return crystal.with_bandwidth(settings.bandwidth), mode

    def _restraints(self, crystal: PixelCrystal) -> Restraints:
        settings = self._settings
        return Restraints(
            cell=self._run.cell,
            cell_sigma=self._run.cell_sigma * settings.cell_spread,
            n_cells=crystal.n_cells,
            ln_n_sigma=settings.block_ln_sigma,
            spread_deg=settings.mosaic_deg,
            ln_spread_sigma=settings.mosaic_ln_sigma,
            bandwidth=settings.bandwidth,
            ln_bandwidth_sigma=settings.bandwidth_ln_sigma,
        )

    def _others(
        self,
        starts: Sequence[tuple[PixelCrystal, int]],
        limits: Sequence[float],
        number: int,
        frame: Frame,
    ) -> Predictions | None:
        """Return the spots that the shot's other lattices are expected to have."""
        parts = [
            expected_spots(crystal, frame.detector, frame.beam, limit, self._settings.reach)[0]
            for other, ((crystal, _), limit) in enumerate(zip(starts, limits, strict=True))
            if other != number
        ]
        return Predictions.concatenate(parts) if parts else None

    def _frame(self, event: int, wavelength_ang: float) -> Frame:
        """Return the frame of an event, hot pixels and those that are no number masked."""
        path, number = self._run.events.location(event)
        detector = self._run.events.detector(event)
        pixels = self._frames.pixels(path, number)
        good = self._frames.mask(path, number).copy()
        for panel, slow, fast in self._run.hot_pixels:
            start = detector.panels[panel].slab_start
            good[start[0] + slow, start[1] + fast] = False
        if pixels.dtype.kind == "f":
            good &= np.isfinite(pixels)
        beam = self._run.events.beam(event).with_wavelength(wavelength_ang)
        return Frame(pixels, good, detector, beam, photons_per_adu(detector, self._run.gain_adu))


def photons_per_adu(detector: Detector, gain_adu: float) -> Array:
    """Return the photons that an ADU of each panel (n_panels,) is.

    The panels' gains are scaled so that their median is `gain_adu` [ADU a photon].
    """
    gains = np.array([panel.gain for panel in detector.panels])
    return np.asarray(np.median(gains) / (gains * gain_adu))
