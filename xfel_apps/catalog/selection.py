"""Which runs a dataset has: those whose tags fit its rules."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

RULES = ("any", "all", "none")


@dataclass(frozen=True)
class Selection:
    """Rules of a dataset; one without any rule takes every run.

    Attributes
    ----------
    any : a run needs at least one of these tags
    all : a run needs each of these tags
    none : a run must have no such tag
    """

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def takes(self, tags: Collection[str]) -> bool:
        """Return whether a run with these tags belongs to the dataset.

        >>> Selection(any=("apo", "holo"), none=("bad",)).takes({"apo", "cold"})
        True
        >>> Selection(all=("apo", "cold")).takes({"apo"})
        False
        """
        own = set(tags)
        has_any = not self.any or bool(own & set(self.any))
        return has_any and own >= set(self.all) and not own & set(self.none)

    def members(self, tags_of: Mapping[str, Collection[str]]) -> list[str]:
        """Return the runs that belong, in order of their names.

        Parameters
        ----------
        tags_of : run -> its tags
        """
        return sorted(run for run, tags in tags_of.items() if self.takes(tags))

    @property
    def rules(self) -> list[tuple[str, str]]:
        """Rule and tag, one after the other."""
        return [(rule, tag) for rule in RULES for tag in getattr(self, rule)]

    @classmethod
    def of(cls, rules: Sequence[tuple[str, str]]) -> "Selection":
        """Return the selection with these pairs of rule and tag."""
        return cls(**{rule: tuple(sorted(t for r, t in rules if r == rule)) for rule in RULES})

    @property
    def text(self) -> str:
        """In words.

        >>> Selection(any=("a", "b"), none=("bad",)).text
        'any of a, b; none of bad'
        """
        parts = [f"{rule} of {', '.join(getattr(self, rule))}" for rule in RULES]
        return "; ".join(part for part in parts if not part.endswith("of ")) or "every run"
