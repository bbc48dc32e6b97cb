"""The pixels of lattices as stage 1 left them, and the shapes of their spots."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.compute.forward import Rectangles
from xfel_apps.compute.shoebox import BeamLine, SpotShapes
from xfel_apps.containers.events import Events
from xfel_apps.containers.manifest import Manifest, open_product
from xfel_apps.containers.reader import ProductReader
from xfel_apps.containers.refined import REFINED, Pixels, PredictedSpots, RefinedCrystals
from xfel_apps.errors import ContainerError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.intensities.asu import ABSENT, UniqueReflections
from xfel_apps.intensities.halves import half_of
from xfel_apps.pixel_model.background import unknown_variance
from xfel_apps.pixel_model.crystal import PixelCrystal
from xfel_apps.pixel_model.windows import windows_of

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]
F4 = NDArray[np.float32]


@dataclass(frozen=True)
class LatticePixels:
    """One lattice, the pixels of its boxes, and what does not change while it is refined.

    Attributes
    ----------
    name : of the shot and the lattice, for messages
    number : of the lattice in the dataset
    half : 0 or 1, of the data it belongs to
    boxes, observed, noise, beam : the pixels, see `compute.shoebox`
    unit : spots of |F|^2 = 1 on the backgrounds that stage 1 found
    slot, s2 : (n,) where the intensity of each box is averaged, and 1/(4 d^2) [1/Angstrom^2]
    off : (n,) distance of the lattice point from the Ewald sphere, in its standard deviations
    first : (n,) |F|^2 that stage 1 found
    """

    name: str
    number: int
    half: int
    boxes: Rectangles
    observed: F4
    noise: F4
    beam: BeamLine
    unit: SpotShapes
    slot: IntArray
    s2: Array
    off: Array
    first: Array

    def __len__(self) -> int:
        return len(self.slot)


@dataclass(frozen=True)
class Run:
    """A run whose shots were refined.

    Attributes
    ----------
    events, manifest, reader : of it
    names : (n,) event and number of each lattice, in order
    halves : (n,) 0 or 1
    n_boxes : (n,) shoeboxes of each
    wavelength_ang : (n,)
    """

    events: Events
    manifest: Manifest
    reader: ProductReader
    names: list[tuple[int, int]]
    halves: NDArray[np.int8]
    n_boxes: IntArray
    wavelength_ang: Array

    @classmethod
    def read(cls, events: Path, refined: Path) -> "Run":
        """Return what two manifests say of a run."""
        index = Events.read(events)
        manifest, reader = open_product(refined, REFINED)
        if manifest.run != index.manifest.run:
            raise ContainerError(
                f"{refined}: of run {manifest.run}, but {events} is of run {index.manifest.run}; "
                "give events and refined of the same runs in the same order"
            )
        found = reader.frame("crystals")
        return cls(
            index,
            manifest,
            reader,
            list(zip(map(int, found["event"]), map(int, found["lattice"]), strict=True)),
            half_of(found["shot_id"], found["lattice"]),
            found["n_boxes"].to_numpy(np.int64),
            found["wavelength_ang"].to_numpy(float),
        )

    def cost(self) -> Array:
        """Return how long an iteration takes for each lattice (n,), in any unit."""
        finely = self.reader.shots()["oversample"]
        events = [event for event, _ in self.names]
        return np.asarray(self.n_boxes * finely.loc[events].to_numpy(float) ** 2)


def read_lattices(
    run: Run, rows: Sequence[int], first_number: int, unique: UniqueReflections
) -> list[LatticePixels]:
    """Return some lattices of a run, those boxes whose reflections are refined.

    Parameters
    ----------
    run, rows : which lattices of which run
    first_number : of the run's first lattice in the dataset
    unique : reflections that are refined
    """
    shots = run.reader.shots()
    readout, finely = shots["readout_sigma"].to_dict(), shots["oversample"].to_dict()
    result = []
    for row in rows:
        event, lattice = run.names[row]
        shot = _Shot(
            event,
            run.events.shot_id(event),
            run.events.detector(event),
            run.events.beam(event),
            float(readout[event]),
            int(finely[event]),
            float(run.manifest.settings["model_error"]),
        )
        one = shot.lattice(run.reader, lattice, unique)
        result.append(replace(one, number=first_number + row, half=int(run.halves[row])))
    return result


@dataclass(frozen=True)
class _Shot:
    """What is known of a shot: see `RefinedShots`."""

    event: int
    shot_id: str
    detector: Detector
    beam: Beam
    readout_sigma: float
    oversample: int
    model_error: float

    def lattice(
        self, reader: ProductReader, lattice: int, unique: UniqueReflections
    ) -> LatticePixels:
        """Return one lattice of the shot."""
        crystals = reader.rows("crystals", self.event, RefinedCrystals)
        crystals = crystals.take(crystals.lattice == lattice)
        spots = reader.rows("spots", self.event, PredictedSpots)
        pixels = reader.rows("pixels", self.event, Pixels)
        hkl = np.column_stack([spots.h, spots.k, spots.l]).astype(np.int64)
        slot = unique.slots(hkl)
        mine = (spots.lattice == lattice) & (slot != ABSENT)
        counts = spots.n_fast.astype(np.int64) * spots.n_slow
        observed = pixels.photons[np.repeat(mine, counts)]
        spots, slot, hkl = spots.take(mine), slot[mine].astype(np.int64), hkl[mine]
        boxes = self._boxes(spots)
        unit = self._unit(crystals, spots, hkl)
        wavelength_ang = float(crystals.wavelength_ang[0])
        noise = unknown_variance(boxes, observed, self.model_error) + self.readout_sigma**2
        return LatticePixels(
            f"{self.shot_id}, lattice {lattice}",
            0,
            0,
            boxes,
            observed,
            noise.astype(np.float32),
            self._beam_line(wavelength_ang),
            unit,
            slot,
            0.25 / unique.d_ang[slot // unique.slots_each] ** 2,
            _off_sphere(unit, np.array(self.beam.direction), wavelength_ang),
            spots.intensity * np.exp(spots.ln_intensity.astype(float)),
        )

    def _boxes(self, spots: PredictedSpots) -> Rectangles:
        start = np.column_stack([spots.start_fast, spots.start_slow]).astype(np.int64)
        size = np.column_stack([spots.n_fast, spots.n_slow]).astype(np.int64)
        return windows_of(self.detector, spots.panel.astype(np.int64), start, size)

    @staticmethod
    def _unit(crystals: RefinedCrystals, spots: PredictedSpots, hkl: IntArray) -> SpotShapes:
        crystal = PixelCrystal.from_a_matrix(
            crystals.a_matrix[0],
            crystals.space_group[0].decode(),
            crystals.n_cells[0],
            float(crystals.spread_deg[0]),
        )
        crystal = replace(
            crystal, scale=float(crystals.scale[0]), bandwidth=float(crystals.bandwidth[0])
        )
        background = [spots.background, spots.slope_fast, spots.slope_slow]
        return crystal.spots(hkl, np.ones(len(hkl)), np.column_stack(background).astype(float))

    def _beam_line(self, wavelength_ang: float) -> BeamLine:
        beam = self.beam
        return BeamLine(
            wavelength_ang,
            beam.direction,
            beam.polarization_fraction,
            beam.polarization_normal,
            self.oversample,
        )


def _off_sphere(unit: SpotShapes, direction: Array, wavelength_ang: float) -> Array:
    """Return how far lattice points (n,) are off the Ewald sphere, in standard deviations."""
    s1 = unit.centre + direction / wavelength_ang
    length = np.linalg.norm(s1, axis=1)
    along = s1 / length[:, None]
    variance = np.einsum("ni,nij,nj->n", along, unit.covariance, along)
    return np.asarray((length - 1.0 / wavelength_ang) / np.sqrt(variance))
