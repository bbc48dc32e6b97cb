"""How an event can end: exactly one of these (and `pending` before any stage looked at it)."""

from enum import StrEnum


class Outcome(StrEnum):
    """Outcome of an event, in the order in which stages can reach it.

    `pending` is what `ingest` leaves; no event ends with it once `spotfind` has run.
    """

    PENDING = "pending"
    FILTERED = "filtered"
    MISS = "miss"
    HIT_NOT_INDEXED = "hit_not_indexed"
    INDEXED = "indexed"
    INTEGRATED = "integrated"
    FAILED = "failed"

    @property
    def code(self) -> int:
        """Number stored in containers."""
        return list(Outcome).index(self)

    @classmethod
    def from_code(cls, code: int) -> "Outcome":
        """Return the outcome stored as `code`.

        >>> Outcome.from_code(Outcome.MISS.code)
        <Outcome.MISS: 'miss'>
        """
        return list(cls)[int(code)]
