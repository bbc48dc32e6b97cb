"""What a user asked for, turned into checked settings of each reservation."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xfel_apps.config import override, read_yaml
from xfel_apps.errors import SettingsError
from xfel_apps.plan.presets import merged, preset
from xfel_apps.plan.settings import PlanSettings

MOST_SIZES = 100


@dataclass(frozen=True)
class PlanRequest:
    """What a user asked for.

    Attributes
    ----------
    preset : what to start from
    nodes : sizes of the reservation with commas between, if several are to be compared
    within_min : a run should be done so long after its last shot [min]
    config : file with what differs from the preset
    assignments : section.key=value
    """

    preset: str = "default"
    nodes: str | None = None
    within_min: float | None = None
    config: Path | None = None
    assignments: Sequence[str] = ()

    def settings(self) -> list[PlanSettings]:
        """Return the settings of each reservation, the smallest first."""
        data = merged(preset(self.preset), read_yaml(self.config) if self.config else {})
        data = override(data, self.assignments)
        if self.within_min is not None:
            data["result_within_min"] = self.within_min
        base = PlanSettings.checked(data)
        if self.nodes is None:
            return [base]
        changes = [{"reservation": {"nodes": nodes}} for nodes in sizes(self.nodes)]
        return [PlanSettings.checked(merged(data, change)) for change in changes]


def sizes(text: str) -> list[int]:
    """Return the sizes of the reservation that are to be compared.

    >>> sizes("64,4,8")
    [4, 8, 64]
    """
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or len(found) > MOST_SIZES:
        raise SettingsError(
            f"--nodes {text}: expected at most {MOST_SIZES} whole numbers from 1, such as 4,8,16"
        )
    return found
