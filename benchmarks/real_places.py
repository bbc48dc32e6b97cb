"""Places on real stills where nothing is, and what integration makes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from xfel_apps.containers.crystals import Crystals
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.spots import good_spots
from xfel_apps.geometry import Detector
from xfel_apps.geometry.prediction import Lattice
from xfel_apps.integrate.layout import Layout
from xfel_apps.integrate.look import FIRST_SIGMAS, Look
from xfel_apps.integrate.predicted import Predicted, Shot
from xfel_apps.integrate.processor import Integrator
from xfel_apps.integrate.rows import best_estimate, flags_of
from xfel_apps.integrate.run import IntegrateInput
from xfel_apps.integrate.settings import IntegrateSettings
from xfel_apps.integrate.shot import Integrated, integrate_shot
from xfel_apps.sources import FrameCache

Array = NDArray[np.float64]
TURNS_DEG = (11.0, 23.0, 37.0, 53.0)
"""Angles about the beam by which lattices are turned away."""


class Places:
    """Where on the stills something is, or could be.

    Parameters
    ----------
    run : folder of what we made of them
    """

    def __init__(self, run: Path) -> None:
        names = ("events.json", "spots.json", "crystals.json")
        self._read = IntegrateInput.read(*(run / name for name in names))
        events = self._read.events
        self._frames = FrameCache(events.geometry_file, events.mask_file)
        self._settings = IntegrateSettings()
        self._integrator = Integrator(self._read.run, self._frames, self._settings)

    @property
    def events(self) -> list[int]:
        """The stills that were indexed."""
        found = self._read.outcomes.items()
        return sorted(event for event, end in found if end == Outcome.INDEXED)

    def detector(self, event: int) -> Detector:
        """Return the detector of a still."""
        return self._read.events.detector(event)

    def look_at(self, event: int) -> tuple[Shot, list[Lattice], Integrated]:
        """Return a still, its lattices with the mosaic models found, and its reflections."""
        crystals = self._read.crystals.rows("crystals", event, Crystals)
        shot, lattices, ends = self._integrator.look_at(event, crystals)
        done = integrate_shot(shot, lattices, ends, self._settings)
        pairs = zip(lattices, done.mosaics, strict=True)
        return shot, [replace(lattice, mosaic=mosaic) for lattice, mosaic in pairs], done

    def taken(self, event: int) -> cKDTree:
        """Return the spots of a still and its reflections to twice the width predicted."""
        shot, lattices, done = self.look_at(event)
        wide = [replace(lattice, mosaic=lattice.mosaic.scaled(2.0)) for lattice in lattices]
        found = Predicted.of(shot, wide, done.limits_ang).found
        spots = good_spots(self._read.spots, event, self._read.run.hot_pixels)
        places = [
            shot.detector.slab_pixels(item.panel, item.fast_px, item.slow_px)
            for item in (found, spots)
        ]
        return cKDTree(np.concatenate([np.column_stack(place) for place in places]))

    def turned(self, event: int) -> tuple[Array, Array]:
        """Return places (n, 2) and I/sigma (n,) of a still's lattices turned about the beam."""
        shot, lattices, done = self.look_at(event)
        layout = Layout.expected(
            shot.spot_radius_px / FIRST_SIGMAS, [item.mosaic.mosaicity_deg for item in lattices]
        )
        own = Predicted.of(shot, lattices, done.limits_ang)
        look = Look.first(shot, own, layout, self._settings)
        places, values = [], []
        for angle in TURNS_DEG:
            turn = Rotation.from_rotvec([0.0, 0.0, angle], degrees=True).as_matrix()
            other = [replace(item, a_matrix=turn @ item.a_matrix) for item in lattices]
            predicted = Predicted.of(shot, other, done.limits_ang)
            sums, is_fitted = look.integrate(predicted, self._settings)
            there = replace(done, found=predicted.found, sums=sums, is_fitted=is_fitted)
            good = flags_of(sums, self._settings) == 0
            value, variance = best_estimate(there)
            found = predicted.found
            place = shot.detector.slab_pixels(found.panel, found.fast_px, found.slow_px)
            places.append(np.column_stack(place)[good])
            values.append((value / np.sqrt(variance))[good])
        return np.concatenate(places), np.concatenate(values)

    def close(self) -> None:
        """Close what was read."""
        self._read.close()
        self._frames.close()
