"""Write runs as the files of another program."""

from collections.abc import Sequence
from pathlib import Path

from xfel_apps.errors import SettingsError
from xfel_apps.interchange.runs import open_runs
from xfel_apps.interchange.to_crystfel import write_crystfel
from xfel_apps.interchange.to_dials import write_dials


def export(folders: Sequence[Path], target: str, out: Path) -> list[Path]:
    """Write the runs at or below folders for another program; return the files.

    Parameters
    ----------
    folders : runs, trials or results
    target : the program, `dials` or `crystfel`
    out : for DIALS a folder, for CrystFEL the stream to write
    """
    if target == "crystfel" and out.suffix != ".stream":
        raise SettingsError(f"{out}: name the stream to write (--out NAME.stream)")
    if target == "dials" and out.suffix:
        raise SettingsError(f"{out}: name the folder to write (--out FOLDER)")
    runs = open_runs(folders)
    try:
        return write_dials(runs, out) if target == "dials" else write_crystfel(runs, out)
    finally:
        for run in runs:
            run.results.close()
