"""The random subsets of a shot depend on the shot, not on its number in the run."""

import pytest

from xfel_apps.containers.outcome import Outcome
from xfel_apps.containers.product import ShotResult
from xfel_apps.index import processor
from xfel_apps.index.processor import FoundSpots, Indexer
from xfel_apps.index.settings import IndexSettings


class _Events:
    """Shots by their identity alone."""

    def __init__(self, *ids: str) -> None:
        self._ids = ids

    def shot_id(self, event: int) -> str:
        return self._ids[event]

    def detector(self, _event: int) -> None: ...

    beam = detector


class _Spots(FoundSpots):
    def shot(self, event: int):
        return None


def test_a_shot_has_the_same_seed_whatever_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def note(*args: object) -> ShotResult:
        seeds.append(args[-1])
        return ShotResult(Outcome.INDEXED)

    monkeypatch.setattr(processor, "index_shot", note)
    for ids, event in ((("r1:a:0", "r1:a:1"), 1), (("r1:a:1", "r1:a:0"), 0), (("r1:a:0",), 0)):
        indexer = Indexer(_Spots(_Events(*ids), None, ()), object(), IndexSettings())
        indexer.process(event)
    assert seeds[0] == seeds[1] != seeds[2]
    assert all(0 <= seed < 2**64 for seed in seeds)
