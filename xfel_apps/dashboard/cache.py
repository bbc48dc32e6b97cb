"""Answers that are kept until what they were made from has changed."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")
MAX_KEPT = 256
MAX_MAKERS = 4
PATIENCE_S = 0.25
"""Who asks gets what was made before if making it anew takes longer [s]."""
SHARE = 0.25
"""Share of the time that is spent on making one answer again and again, at most."""


@dataclass
class _Slot:
    state: Hashable = None
    value: Any = None
    is_made: bool = False
    making: "Future[Any] | None" = None
    is_owed: bool = False
    not_before_s: float = 0.0
    timer: threading.Timer | None = None


class Cache:
    """What was made for a key, and from which state; many who ask at once make it once.

    Parameters
    ----------
    late : called when there is something newer than what somebody got
    """

    def __init__(self, late: Callable[[], None] = lambda: None) -> None:
        self._late = late
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._makers = ThreadPoolExecutor(MAX_MAKERS, thread_name_prefix="dashboard")

    def get(
        self, key: Hashable, state: Hashable, make: Callable[[], T], meanwhile: T | None = None
    ) -> T:
        """Return what `make` returns, or returned before for this key in this state.

        What takes long is not waited for: who asks gets what was made before, and `late` is called
        when it is there. Only the first who asks for a key waits, unless there is `meanwhile`.

        Parameters
        ----------
        key : what is asked for, with all that it depends on but the state
        state : of what it is made from, such as `Changes.state("catalog")`
        make : makes it
        meanwhile : what is returned until it is made for the first time; None: that is waited for
        """
        with self._lock:
            slot = self._slot(key)
            if slot.is_made and slot.state == state:
                kept: T = slot.value
                return kept
            if slot.is_made and slot.making is None and self._is_early(slot):
                early: T = slot.value
                return early
            if slot.making is None:
                slot.making = self._makers.submit(self._make, slot, state, make)
            making = slot.making
            waits = meanwhile is None and not slot.is_made
        try:
            value: T = making.result(None if waits else PATIENCE_S)
        except FutureTimeoutError:
            with self._lock:
                slot.is_owed = slot.making is not None
                value = cast("T", slot.value if slot.is_made else meanwhile)
        return value

    def _is_early(self, slot: _Slot) -> bool:
        """Return whether it is too early to make it again; who asks is told when it is not."""
        left_s = slot.not_before_s - time.monotonic()
        if left_s <= 0.0:
            return False
        if slot.timer is None or not slot.timer.is_alive():
            slot.timer = threading.Timer(left_s, self._late)
            slot.timer.daemon = True
            slot.timer.start()
        return True

    def _slot(self, key: Hashable) -> _Slot:
        slot = self._slots.setdefault(key, _Slot())
        self._slots.move_to_end(key)
        while len(self._slots) > MAX_KEPT:
            self._slots.popitem(last=False)
        return slot

    def _make(self, slot: _Slot, state: Hashable, make: Callable[[], Any]) -> Any:
        start_s = time.monotonic()
        try:
            value = make()
        except BaseException:
            with self._lock:
                slot.making, slot.is_made = None, False
            raise
        now_s = time.monotonic()
        with self._lock:
            slot.value, slot.state, slot.is_made, slot.making = value, state, True, None
            slot.not_before_s = now_s + (now_s - start_s) * (1.0 / SHARE - 1.0)
            is_owed, slot.is_owed = slot.is_owed, False
        if is_owed:
            self._late()
        return value

    def close(self) -> None:
        """Make nothing more."""
        self._makers.shutdown(wait=False, cancel_futures=True)
