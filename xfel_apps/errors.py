"""The errors a user can meet; each says what, where and what to do."""

from collections.abc import Iterable
from pathlib import Path


class XfelError(Exception):
    """Base of every expected error: shown as one line on stderr, exit code 1.

    Attributes
    ----------
    on_all_ranks : every rank has met this one error; rank 0 says it
    """

    on_all_ranks = False


class SettingsError(XfelError):
    """A setting is misspelt, out of bounds or contradicts another one."""


class SourceError(XfelError):
    """A raw file or one frame of it cannot be read."""


class NotYetError(SourceError):
    """A raw file or one frame of it is not whole; while the run is written it may become so.

    Attributes
    ----------
    awaits : other files that have to come or to become whole
    """

    def __init__(self, message: str, awaits: Iterable[Path] = ()) -> None:
        super().__init__(message)
        self.awaits = tuple(awaits)


class ContainerError(XfelError):
    """A product cannot be read or written: missing, damaged or of another version."""


class GeometryError(XfelError):
    """The experiment's geometry is missing, impossible or inconsistent."""


class ShotError(XfelError):
    """One shot cannot be processed; the run goes on and the shot ends as `failed`."""


class ShotTimeoutError(ShotError):
    """A shot took longer than the limit set for it."""


class CatalogError(XfelError):
    """The catalog cannot be opened, asked or changed."""


class CatalogAwayError(CatalogError):
    """The database does not answer, or refuses; later it may serve the same question."""


class ConflictError(CatalogError):
    """Somebody else has changed what was to be changed; look at it again."""


class PackError(XfelError):
    """The environment cannot be packed."""


class StoppedError(XfelError):
    """The app was asked to stop (SIGINT, SIGTERM or SIGUSR1): exit code 75, run it again."""
