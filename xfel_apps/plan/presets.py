"""Situations to start from; `docs/how-to/size-a-reservation.md` gives the source of each figure.

P175 is the experiment of Blaschke et al. (2024). Its utilisation, and a trial of preemptible jobs
in a reservation, are published with the description of the ExaFEL software, section 3.1.2.
"""

from typing import Any

from xfel_apps.errors import SettingsError


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings with some of them changed.

    >>> merged({"work": {"trials": 2, "nodes_per_job": 1}}, {"work": {"trials": 0}})
    {'work': {'trials': 0, 'nodes_per_job': 1}}
    """
    result = dict(base)
    for key, value in changes.items():
        below = result.get(key)
        if isinstance(value, dict) and isinstance(below, dict):
            result[key] = merged(below, value)
        else:
            result[key] = value
    return result


P175: dict[str, Any] = {
    "beam": {
        "shift_h": 12,
        "run_min": 15,
        "run_spread": 0.5,
        "gap_min": 5,
        "gap_spread": 1,
        "runs_per_sample": 4,
        "change_min": 25,
        "shots_hz": 9.3,
        "hit_fraction": 0.49,
        "hit_spread": 0.2,
        "transfer_min": 3,
    },
    "work": {
        "hit_core_s": 60,
        "miss_core_s": 5,
        "efficiency": 1,
        "nodes_per_job": 28,
        "trials": 4,
    },
    "reservation": {"nodes": 64, "cores_per_node": 32, "warm_up_s": 60, "keep_warm_s": 0},
    "filling": {"reprocess": "reservation"},
}
"""All work queues in the reservation; idle nodes stay idle."""

FILLED: dict[str, Any] = {
    "beam": {"shots_hz": 4.8},
    "work": {"backlog_node_h": 2000},
    "filling": {
        "nodes": 8,
        "walltime_min": 60,
        "warm_up_s": 60,
        "give_way_s": 300,
        "grace_s": 300,
    },
}
"""Others' preemptible jobs fill the idle nodes, and take all of five minutes to leave."""

GIVES_WAY: dict[str, Any] = {"filling": {"give_way_s": 2, "reprocess": "filling"}}
"""Reprocessing fills too, and preemptible jobs leave within seconds."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "p175": P175,
    "p175-filled": merged(P175, FILLED),
    "p175-gives-way": merged(merged(P175, FILLED), GIVES_WAY),
}


def preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset, as `PlanSettings.checked` takes them."""
    if name not in PRESETS:
        raise SettingsError(f"--preset {name}: no such preset; there are {', '.join(PRESETS)}")
    return PRESETS[name]
