"""The state of results and catalog: once, again and again on a terminal, or as JSON."""

import json
import time
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from xfel_apps.catalog.engine import Catalog, open_catalog
from xfel_apps.catalog.url import FILE_NAME
from xfel_apps.containers.results import run_folders
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.status.of_catalog import CatalogState, catalog_state, show_catalog
from xfel_apps.status.progress import stages_of
from xfel_apps.status.show import show_status

REFRESH_S = 2.0


class Screen:
    """What is known of the runs at or below a folder.

    Parameters
    ----------
    folder : results, a trial or a run
    url : of the catalog; None: the file beside the results, if there is one
    experiment : its name in the catalog
    """

    def __init__(self, folder: Path, url: str | None, experiment: str) -> None:
        self._folder, self._url, self._experiment = folder, url, experiment

    @cached_property
    def _catalog(self) -> Catalog | None:
        """The catalog, opened when first asked for; None where there is none."""
        if self._url is not None:
            return open_catalog(self._url, must_exist=True)
        above = [folder / FILE_NAME for folder in self._folder.absolute().parents[:3]]
        beside = next((path for path in above if path.is_file()), None)
        return open_catalog(str(beside), must_exist=True) if beside else None

    def _state(self) -> CatalogState | None:
        return catalog_state(self._catalog, self._experiment) if self._catalog else None

    def _now(self) -> Group:
        """Return all that is known now, to be printed; without any run, what the catalog says."""
        state = self._state()
        try:
            parts = [show_status(self._folder)]
        except ContainerError:
            if state is None:
                raise
            parts = []
        return Group(*parts, *([show_catalog(state)] if state else []))

    def show(self) -> None:
        """Print it once."""
        Console().print(self._now())

    def show_until_stopped(self) -> None:
        """Show it again and again until Ctrl-C; no run need be there yet."""
        console = Console()
        if not console.is_terminal:
            raise SettingsError("--live needs a terminal; leave it out, or use --json")
        with suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as screen:
            while True:
                try:
                    screen.update(self._now(), refresh=True)
                except ContainerError as err:
                    screen.update(Text(str(err), style="yellow"), refresh=True)
                time.sleep(REFRESH_S)

    def as_json(self) -> str:
        """Return it as JSON: `stages` of every run, `catalog` (null where there is none)."""
        state = self._state()
        folders = run_folders(self._folder)
        stages = [asdict(stage) for folder in folders for stage in stages_of(folder)]
        return json.dumps({"stages": stages, "catalog": asdict(state) if state else None}, indent=1)
