"""What is said of a disk that is full or gone: one line."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from xfel_apps.errors import ContainerError


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what HDF5 says of a disk that is full or gone into one error."""
    try:
        yield
    except (OSError, RuntimeError) as err:
        text = " ".join(str(err).split())
        raise ContainerError(
            f"{folder}: cannot write ({text}); make room, the shots will be done again"
        ) from err


def say_once() -> None:
    """Show nothing of what HDF5 meets when it lets go of what it could not write.

    That is the error again that was raised when it was written; h5py can only print it.
    """
    sys.excepthook, sys.unraisablehook = _show_raised, _show_unraisable


def _show_raised(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    if not _is_letting_go(where):
        sys.__excepthook__(kind, error, where)


def _show_unraisable(found: "sys.UnraisableHookArgs") -> None:
    if not isinstance(found.exc_value, OSError | RuntimeError):
        sys.__unraisablehook__(found)


def _is_letting_go(where: TracebackType | None) -> bool:
    """Return whether h5py closes an object that nothing refers to."""
    return any(frame.name.endswith("_dealloc") for frame in traceback.extract_tb(where))
