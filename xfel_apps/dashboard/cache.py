"""Answers that are kept until what they were made from has changed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
MAX_KEPT = 256


@dataclass
class _Slot:
    lock: threading.Lock = field(default_factory=threading.Lock)
    state: Hashable = None
    value: Any = None
    is_made: bool = False


class Cache:
    """What was made for a key, and from which state; many who ask at once make it once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()

    def get(self, key: Hashable, state: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` returns, or returned before for this key in this state.

        Parameters
        ----------
        key : what is asked for, with all that it depends on but the state
        state : of what it is made from, such as `Changes.state("catalog")`
        make : makes it
        """
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
            while len(self._slots) > MAX_KEPT:
                self._slots.popitem(last=False)
        with slot.lock:
            if not slot.is_made or slot.state != state:
                slot.value, slot.state, slot.is_made = make(), state, True
            value: T = slot.value
            return value
