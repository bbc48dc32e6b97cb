"""How many shots ended how, and how many lattices they gave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xfel_apps.containers.outcome import Outcome

HITS = (Outcome.HIT_NOT_INDEXED, Outcome.INDEXED, Outcome.INTEGRATED)


@dataclass
class Tally:
    """Counts that grow.

    Attributes
    ----------
    outcomes : outcome -> shots
    n_lattices : lattices that were integrated
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    n_lattices: int = 0

    def add(self, outcome: Outcome, n_lattices: int = 0, n_shots: int = 1) -> None:
        """Count shots that ended so."""
        self.outcomes[str(outcome)] = self.outcomes.get(str(outcome), 0) + n_shots
        self.n_lattices += n_lattices

    def include(self, other: "Tally") -> None:
        """Add the counts of another tally."""
        for name, n_shots in other.outcomes.items():
            self.add(Outcome(name), n_shots=n_shots)
        self.n_lattices += other.n_lattices

    @property
    def n_shots(self) -> int:
        """Shots counted."""
        return sum(self.outcomes.values())

    @property
    def n_hits(self) -> int:
        """Hits among them."""
        return sum(self.outcomes.get(str(outcome), 0) for outcome in HITS)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tally":
        """Return the tally that `dataclasses.asdict` described."""
        return cls(dict(data.get("outcomes", {})), int(data.get("n_lattices", 0)))
