"""What pages show: the results folder, and the catalog's experiment that it belongs to."""

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fastapi import Request

from xfel_apps.catalog import Catalog, CatalogError, open_catalog, queries
from xfel_apps.catalog.edits import Editor
from xfel_apps.catalog.queries import ExperimentInfo
from xfel_apps.catalog.url import default_url
from xfel_apps.dashboard import results as folder
from xfel_apps.dashboard.cache import Cache
from xfel_apps.dashboard.changes import Changes
from xfel_apps.dashboard.settings import DashboardSettings

T = TypeVar("T")
Figure = Mapping[str, Any]
PENDING: Figure = {"data": [], "layout": {}, "pending": True}
"""Stands for a figure that is being made."""
POOL_SIZE = 8
"""Connections that the server keeps: few, as answers are kept until something changes."""


def url_of(settings: DashboardSettings) -> str:
    """Return the URL of the catalog: as given, or of the file beside the results."""
    return settings.catalog or default_url(settings.results)


class Room:
    """One server's results, catalog and kept answers.

    Parameters
    ----------
    settings : of the dashboard
    """

    def __init__(self, settings: DashboardSettings) -> None:
        self.settings = settings
        self.results: Path = settings.results
        self.url = url_of(settings)
        self._catalog: Catalog | None = None
        self._lock = threading.Lock()
        self.changes = Changes(
            {
                "catalog": self._pulse,
                "live": partial(folder.live_state, self.results),
                "results": partial(folder.manifests_state, self.results),
                "merged": partial(folder.merged_state, self.results),
                "shots": partial(folder.shots_state, self.results),
            },
            settings.look_s,
        )
        self._cache = Cache(late=partial(self.changes.tell, set(self.changes.topics)))

    @property
    def catalog(self) -> Catalog:
        """The catalog, opened when first asked for; it may come later than the server."""
        with self._lock:
            if self._catalog is None:
                self._catalog = open_catalog(self.url, POOL_SIZE)
            return self._catalog

    def experiment(self) -> str:
        """Return the name of the experiment that the results belong to."""
        return self.kept("experiment", ("catalog",), self._experiment)

    def _experiment(self) -> str:
        with self.catalog.reading() as session:
            known = queries.experiments(session)
        return _chosen(known, self.settings.experiment, self.results)

    def _pulse(self) -> Hashable:
        with self.catalog.reading() as session:
            known = queries.experiments(session)
            if not known:
                return None
            name = _chosen(known, self.settings.experiment, self.results)
            return (name, *queries.pulse(session, name))

    def figure(self, query: Callable[..., Figure], *args: Any) -> Figure:
        """Return the figure that a query of the experiment returns.

        One that takes long is `PENDING` at first; browsers are told when it is there.
        """
        name = self.experiment()

        def make() -> Figure:
            with self.catalog.reading() as session:
                return query(session, name, *args)

        return self.kept((query.__qualname__, name, args), ("catalog",), make, PENDING)

    def ask(self, query: Callable[..., T], *args: Any, **options: Any) -> T:
        """Return what a query of the experiment returns, made anew when the catalog has changed.

        Parameters
        ----------
        query : of `xfel_apps.catalog.queries`, with the session and the experiment's name first
        """
        return self.ask_catalog(query, self.experiment(), *args, **options)

    def ask_catalog(self, query: Callable[..., T], *args: Any, **options: Any) -> T:
        """Return what a query of the catalog returns, made anew when the catalog has changed.

        Parameters
        ----------
        query : of `xfel_apps.catalog.queries`, with the session first
        """

        def make() -> T:
            with self.catalog.reading() as session:
                return query(session, *args, **options)

        key = query.__module__, query.__name__, args, tuple(sorted(options.items()))
        return self.kept(key, ("catalog",), make)

    def kept(
        self,
        key: Hashable,
        topics: tuple[str, ...],
        make: Callable[[], T],
        meanwhile: T | None = None,
    ) -> T:
        """Return what `make` returns, made anew when one of the topics has changed.

        Parameters
        ----------
        meanwhile : what is returned until it is made for the first time; None: that is waited for
        """
        return self._cache.get(key, self.changes.state(*topics), make, meanwhile)

    def trial(self, name: str = "") -> str:
        """Return the trial that is shown: the one asked for, else the newest that has results.

        The newest of all where none has; empty where there is none.
        """
        names = [item.name for item in self.ask(queries.trials)]
        if name in names:
            return name
        has = (
            name for name in names[::-1] if any(x.outcomes for x in self.ask(queries.runs, name))
        )
        return next(has, names[-1] if names else "")

    def timed(self, key: Hashable, lasts_s: float, make: Callable[[], T]) -> T:
        """Return what `make` returns, made anew when it is older than `lasts_s`."""
        return self._cache.get(key, int(time.monotonic() // lasts_s), make)

    def edit(self, actor: str, work: Callable[..., T], *args: Any, **options: Any) -> T:
        """Return what an edit of the catalog returns, and tell all browsers of it at once.

        Parameters
        ----------
        actor : who makes it
        work : of `xfel_apps.catalog.edits`, with the editor first
        """
        found = work(Editor(self.catalog, self.experiment(), actor), *args, **options)
        self.changes.look_and_tell()
        return found

    def close(self) -> None:
        """Close the catalog."""
        self._cache.close()
        if self._catalog is not None:
            self._catalog.close()


def _chosen(known: list[ExperimentInfo], name: str, results: Path) -> str:
    """Return the experiment that was asked for, or else that with these results."""
    names = [item.name for item in known]
    if name:
        if name not in names:
            raise CatalogError(f"experiment {name!r}: not in the catalog; known: {names}")
        return name
    here = [item.name for item in known if Path(item.results).absolute() == results.absolute()]
    if here or len(known) == 1:
        return (here or names)[0]
    if not known:
        raise CatalogError(
            "the catalog has no experiment yet; `xfelflow catalog sync` puts the results into it"
        )
    raise CatalogError(f"which experiment? say --experiment NAME; known: {', '.join(names)}")


def room_of(request: Request) -> Room:
    """Return what the server that got a request shows."""
    room: Room = request.app.state.room
    return room
