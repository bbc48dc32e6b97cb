"""view: one shot as a picture, with its spots and the reflections predicted for its lattices."""

from pathlib import Path

from xfel_apps.containers.results import RunResults, run_folders
from xfel_apps.errors import ContainerError, SettingsError
from xfel_apps.plots.picture import Look, Region, draw
from xfel_apps.plots.shot import load_shot
from xfel_apps.plots.style import save_png

__all__ = ["Look", "draw_shot", "region_mm"]

DPI = 150


def draw_shot(run: Path, shot: int, out: Path | None = None, look: Look | None = None) -> Path:
    """Draw one shot to a PNG file and return where it is.

    Parameters
    ----------
    run : folder of a run, or of a trial with only one run
    shot : number of the event
    out : PNG file to write; default: `RUN-shot-000017.png` in the working folder
    look : how it is drawn
    """
    folders = run_folders(run)
    if len(folders) > 1:
        names = ", ".join(folder.name for folder in folders[:6])
        raise ContainerError(f"{run}: holds several runs ({names}); give one of them")
    results = RunResults(folders[0])
    try:
        figure = draw(load_shot(results, shot), look or Look())
        path = out or Path(f"{results.name}-shot-{shot:06d}.png")
    finally:
        results.close()
    save_png(figure, path, DPI)
    return path


def region_mm(text: str) -> Region:
    """Return left, right, bottom, top of a square given as `x,y,width` [mm from the beam].

    >>> region_mm("10,-20,4")
    (8.0, 12.0, -22.0, -18.0)
    """
    try:
        x, y, width = (float(item) for item in text.split(","))
    except ValueError as err:
        raise SettingsError(
            f"region {text!r}: expected x,y,width in mm from the beam, such as 10,-20,4"
        ) from err
    if width <= 0:
        raise SettingsError(f"region {text!r}: the width must be above 0 mm")
    half = width / 2
    return x - half, x + half, y - half, y + half
