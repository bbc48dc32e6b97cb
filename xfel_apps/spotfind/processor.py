"""What spotfind does with one shot: a frame to rows of spots, a hit or a miss."""

from pathlib import Path

from xfel_apps.compute.powder import powder_add
from xfel_apps.containers import powder as powders
from xfel_apps.containers.events import Events
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.powder import PowderSum
from xfel_apps.containers.product import ShotResult
from xfel_apps.containers.spots import is_good
from xfel_apps.containers.writer import part_path
from xfel_apps.sources import FrameCache
from xfel_apps.spotfind.find import Found, find_on_frame, outermost_d_ang
from xfel_apps.spotfind.frame import as_native
from xfel_apps.spotfind.settings import SpotfindSettings
from xfel_apps.spotfind.setup import Setup


class SpotFinder:
    """Finds the spots of a run's shots and adds up its powder patterns.

    Parameters
    ----------
    events : of the run
    settings : what is a spot, and how many make a hit
    folder : where this rank's powder file goes
    rank : number of this rank
    digest : of the product
    """

    def __init__(
        self, events: Events, settings: SpotfindSettings, folder: Path, rank: int, digest: str
    ) -> None:
        self._events = events
        self._settings = settings
        self._frames = FrameCache(events.geometry_file, events.mask_file)
        self._setup: Setup | None = None
        self._digest = digest
        self._in_powder = powders.events_in(folder, digest)
        self._powder_path = part_path(folder, rank, powders.PREFIX)
        self._powder: dict[powders.Key, PowderSum] = {}
        self._powder_is_new = False

    def process(self, event: int) -> ShotResult:
        """Return the spots of one shot, a hit or a miss."""
        path, number = self._events.location(event)
        frame = as_native(self._frames.pixels(path, number))
        setup = self._setup_of(event, path, number)
        found = find_on_frame(frame, setup, self._events.beam(event))
        result = self._judge(found)
        if event not in self._in_powder:
            key = result.outcome == Outcome.HIT_NOT_INDEXED, setup.detector.slab_shape
            powder = self._powder.setdefault(key, PowderSum.empty(key[1]))
            powder_add(frame, setup.mask_bytes, found.panels, powder.total, powder.highest)
            powder.events.append(event)
            self._in_powder.add(event)
            self._powder_is_new = True
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
        good = found.spots.take(is_good(found.spots, []))
        is_hit = len(good) >= self._settings.min_spots
        compared = "at least" if is_hit else "fewer than"
        return ShotResult(
            Outcome.HIT_NOT_INDEXED if is_hit else Outcome.MISS,
            f"{len(good)} good spots, {compared} {self._settings.min_spots}",
            {
                "n_spots": len(good),
                "d_min_ang": outermost_d_ang(good.d_ang.astype(float)),
                "background": found.background,
                "gain_adu": found.gain_adu,
            },
            {"spots": found.spots},
        )

    def before_flush(self) -> None:
        """Make the powder durable, before the rows of the shots in it are."""
        if self._powder_is_new:
            powders.write_part(self._powder_path, self._powder, self._digest)
            self._powder_is_new = False
