"""Answers that are kept until what they were made from has changed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
MAX_KEPT = 256
MAX_MAKERS = 4
PATIENCE_S = 0.25
"""Who asks gets what was made before if making it anew takes longer [s]."""


@dataclass
class _Slot:
    state: Hashable = None
    value: Any = None
    is_made: bool = False
    making: "Future[Any] | None" = None
    is_owed: bool = False


class Cache:
    """What was made for a key, and from which state; many who ask at once make it once.

    Parameters
    ----------
    late : called when something is made that somebody got an older one of meanwhile
    """

    def __init__(self, late: Callable[[], None] = lambda: None) -> None:
        self._late = late
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._makers = ThreadPoolExecutor(MAX_MAKERS, thread_name_prefix="dashboard")

    def get(self, key: Hashable, state: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returns, or returned before for this key in this state.

        Only who asks first for a key waits as long as it takes.

        Parameters
        ----------
        key : what is asked for, with all that it depends on but the state
        state : of what it is made from, such as `Changes.state("catalog")`
        make : makes it
        """
        with self._lock:
            slot = self._slot(key)
            if slot.is_made and slot.state == state:
                kept: T = slot.value
                return kept
            if slot.making is None:
                slot.making = self._makers.submit(self._make, slot, state, make)
            making, patience_s = slot.making, PATIENCE_S if slot.is_made else None
        try:
            value: T = making.result(patience_s)
        except FutureTimeoutError:
            with self._lock:
                slot.is_owed = slot.making is not None
                value = slot.value
        return value

    def _slot(self, key: Hashable) -> _Slot:
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        while len(self._slots) > MAX_KEPT:
            self._slots.popitem(last=False)
        return slot

    def _make(self, slot: _Slot, state: Hashable, make: Callable[[], Any]) -> Any:
        try:
            value = make()
        except BaseException:
            with self._lock:
                slot.making, slot.is_made = None, False
            raise
        with self._lock:
            slot.value, slot.state, slot.is_made, slot.making = value, state, True, None
            is_owed, slot.is_owed = slot.is_owed, False
        if is_owed:
            self._late()
        return value

    def close(self) -> None:
        """Make nothing more."""
        self._makers.shutdown(wait=False, cancel_futures=True)
