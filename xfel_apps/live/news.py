"""What happens is said once: in the daemon's log and on the terminal."""

import errno
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from xfel_apps.errors import XfelError

LAST_LINES = 6
"""So many lines are shown with the status."""
NO_SPACE = ("No space left on device", "Disk quota exceeded")


class News:
    """Writes a line for every happening, with its time.

    Parameters
    ----------
    log : file for the lines
    show : called with each line for the terminal
    """

    def __init__(self, log: Path, show: Callable[[str], None]) -> None:
        self._log, self._show = log, show
        self._troubles: dict[str, str] = {}
        self.last: deque[str] = deque(maxlen=LAST_LINES)

    def say(self, text: str) -> None:
        """Say that something happened."""
        now = time.localtime()
        self.last.append(f"{time.strftime('%H:%M:%S', now)} {text}")
        self._show(self.last[-1])
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("a") as file:
                file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S', now)} {text}\n")
        except OSError as err:
            if err.errno not in (errno.ENOSPC, errno.EDQUOT):
                self._show(f"{self._log}: cannot write ({err.strerror})")

    def guard(self, what: str, action: Callable[[], object]) -> bool:
        """Do something; say what goes wrong with it once, and when it works again.

        Returns
        -------
        whether it worked
        """
        try:
            action()
        except Exception as err:
            self._note(what, str(err) or type(err).__name__, is_bug=not _is_expected(err))
            return False
        if self._troubles.pop(what, None):
            self.say(f"{what}: goes on")
        return True

    def _note(self, what: str, trouble: str, *, is_bug: bool) -> None:
        if self._troubles.get(what) == trouble:
            return
        self._troubles[what] = trouble
        if any(text in trouble for text in NO_SPACE):
            self.say(f"{what}: the disk is full; waiting until there is room ({trouble})")
        elif is_bug:
            self.say(f"{what}: {trouble}; will be tried again (this is a bug, please report it)")
        else:
            self.say(f"{what}: {trouble}; will be tried again")

    def trouble(self, what: str) -> str:
        """Return what is wrong with something now; empty when nothing is."""
        return self._troubles.get(what, "")


def _is_expected(err: Exception) -> bool:
    return isinstance(err, XfelError | OSError)
