"""Whether disk and database are well."""

import shutil
import time
from dataclasses import dataclass

from sqlalchemy import text

from xfel_apps.dashboard.room import Room
from xfel_apps.errors import XfelError

LOW_SHARE, VERY_LOW_SHARE = 0.1, 0.03
SLOW_S = 0.5


@dataclass(frozen=True)
class Health:
    """State of what the analysis stands on.

    Attributes
    ----------
    disk_free_bytes, disk_share : free where the results are, and as a share of all
    database : kind of database
    answer_s : time that the database took to answer; None if it did not
    trouble : why it did not; empty if it did
    """

    disk_free_bytes: float
    disk_share: float
    database: str
    answer_s: float | None
    trouble: str

    @property
    def disk_state(self) -> str:
        """`good`, `warn` or `bad`."""
        if self.disk_share < VERY_LOW_SHARE:
            return "bad"
        return "warn" if self.disk_share < LOW_SHARE else "good"

    @property
    def database_state(self) -> str:
        """`good`, `warn` or `bad`."""
        if self.answer_s is None:
            return "bad"
        return "warn" if self.answer_s > SLOW_S else "good"


def health(room: Room) -> Health:
    """Return how disk and database are now."""
    disk = shutil.disk_usage(room.results)
    name, answer_s, trouble = "catalog", None, ""
    try:
        catalog = room.catalog
        name = catalog.url.get_backend_name()
        start_s = time.perf_counter()
        with catalog.reading() as session:
            session.execute(text("SELECT 1"))
        answer_s = time.perf_counter() - start_s
    except XfelError as err:
        trouble = str(err)
    return Health(disk.free, disk.free / max(disk.total, 1), name, answer_s, trouble)
