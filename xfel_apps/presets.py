"""Named sets of settings: what each changes of the defaults.

`make bench-presets` measures what each costs and gains, and writes docs/reference/presets.md.
"""

from collections.abc import Mapping
from typing import Any, Literal

Preset = Literal["final", "live"]

PRESETS: dict[Preset, dict[str, dict[str, Any]]] = {
    "final": {},
    "live": {
        "index": {"tries": 0, "max_lattices": 1},
        "integrate": {"fit_profiles": False},
        "merge": {"post_refinement": False, "n_cycles": 3},
    },
}
"""Preset -> section -> settings that differ from the defaults."""


def with_preset(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return an experiment's settings with those of its preset where it gives none itself.

    >>> with_preset({"preset": "live", "merge": {"n_cycles": 5}})["merge"]["n_cycles"]
    5
    """
    changed = PRESETS.get(data.get("preset", "final"), {})
    result = dict(data)
    for name, section in changed.items():
        given = result.get(name, {})
        if isinstance(given, Mapping):
            result[name] = {**section, **given}
    return result
