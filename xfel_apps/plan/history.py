"""What happened on the nodes of a reservation."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from xfel_apps.plan.arrivals import Job


class Activity(StrEnum):
    """What a node of the reservation does; else it is idle."""

    LIVE = "live"
    REPROCESSING = "reprocessing"
    PREEMPTIBLE = "preemptible"
    WARMING_UP = "warming up"
    KEPT_WARM = "kept warm"
    LOST = "lost to preemption"


class Use(NamedTuple):
    """Nodes that did something from a time to another [s]."""

    what: Activity
    nodes: int
    start_s: float
    end_s: float


class Done(NamedTuple):
    """A job with its first start and its end [s]."""

    job: Job
    start_s: float
    end_s: float


@dataclass
class History:
    """What happened: uses of the reservation, jobs done, backlog that is left [node-seconds]."""

    uses: list[Use] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    left_node_s: float = 0.0
