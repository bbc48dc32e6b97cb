"""What spotfind does with one shot: a frame to rows of spots, a hit or a miss."""

from pathlib import Path

from xfel_apps.containers.events import ShotIndex
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import is_good
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.find import Found, find_on_frame, outermost_d_ang
from xfel_apps.spotfind.frame import as_native
from xfel_apps.spotfind.powder import RankPowder
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup


class SpotFinder:
    """Finds the spots of a run's shots and adds up its powder patterns.

    Parameters
    ----------
    events : of the run
    frames : of the run
    settings : what is a spot, and how many make a hit
    powder : of this rank
    """

    def __init__(
        self,
        events: ShotIndex,
        frames: FrameCache,
        settings: SpotfindSettings,
        powder: RankPowder,
    ) -> None:
        self._events = events
        self._frames = frames
        self._settings = settings
        self._powder = powder
        self._setup: Setup | None = None

    def process(self, event: int) -> ShotResult:
        """Return the spots of one shot, a hit or a miss."""
        path, number = self._events.location(event)
        frame = as_native(self._frames.pixels(path, number))
        setup = self._setup_of(event, path, number)
        found = find_on_frame(frame, setup, self._events.beam(event))
        result = self._judge(found)
        is_hit = result.outcome == Outcome.HIT_NOT_INDEXED
        self._powder.add(event, frame, setup.mask_bytes, found.panels, is_hit=is_hit)
        return result

    def _setup_of(self, event: int, path: Path, number: int) -> Setup:
        """Return what is kept for the shot's detector and mask."""
        detector, beam = self._events.detector(event), self._events.beam(event)
        mask = self._frames.mask(path, number)
        if self._setup is None or not self._setup.serves(detector, mask, beam):
            self._setup = Setup(detector, mask, beam.direction, self._settings)
        return self._setup

    def _judge(self, found: Found) -> ShotResult:
        """Return the shot's rows, and why it is a hit or a miss."""
        d_ang = found.spots.d_ang[is_good(found.spots, [])]
        is_hit = len(d_ang) >= self._settings.min_spots
        compared = "at least" if is_hit else "fewer than"
        return ShotResult(
            Outcome.HIT_NOT_INDEXED if is_hit else Outcome.MISS,
            f"{len(d_ang)} good spots, {compared} {self._settings.min_spots}",
            {
                "n_spots": len(d_ang),
                "d_min_ang": outermost_d_ang(d_ang.astype(float)),
                "background": found.background,
                "gain_adu": found.gain_adu,
            },
            {"spots": found.spots},
        )

    def before_flush(self) -> None:
        """Make the powder durable, before the rows of the shots in it are."""
        self._powder.flush()
