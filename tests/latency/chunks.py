"""Events whose frames were complete at known times."""

from pathlib import Path

from tests.products import write_product
from xfel_apps.containers.events import EVENTS
from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult

START_S = 1.7e9


def shots(names: list[int], complete_s: list[float]) -> dict[int, ShotResult]:
    """Return the rows of events; a shot's name stands for its frame."""
    return {
        number: ShotResult(
            Outcome.PENDING, "", {"shot_id": f"r:{name}".encode(), "complete_s": START_S + s}
        )
        for number, (name, s) in enumerate(zip(names, complete_s, strict=True))
    }


def write_events(folder: Path, names: list[int], complete_s: list[float]) -> None:
    rows = shots(names, complete_s)
    write_product(folder, EVENTS, rows, dict.fromkeys(rows, Outcome.PENDING))
