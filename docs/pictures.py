"""Draw the pictures of README.md from the results of the demo: `python -m docs.pictures demo`."""

import shutil
import sys
from pathlib import Path

from PIL import Image

from xfel_apps.containers.results import runs_below
from xfel_apps.plots.style import save_png
from xfel_apps.plots.timing import timings
from xfel_apps.plots.weather import weather
from xfel_apps.plots.weather_draw import draw
from xfel_apps.table import read_table
from xfel_apps.view import draw_shot

IMAGES = Path(__file__).with_name("images")


def main() -> int:
    """Draw the shot with the median number of reflections and the weather; copy the curves."""
    trial = Path(sys.argv[1]) / "results" / "000"
    crystals = read_table(trial, "crystals").sort_values("n_reflections")
    shot = int(crystals["event"].iloc[len(crystals) // 2])
    IMAGES.mkdir(exist_ok=True)
    draw_shot(trial / "r0001", shot, IMAGES / "shot.png")
    draw_weather(trial)
    for name in ("shot.png", "weather.png"):
        shrink(IMAGES / name)
    shutil.copy(trial / "datasets/lysozyme/v001/merged.svg", IMAGES / "merged.svg")
    return 0


def draw_weather(folder: Path) -> None:
    """Draw which rank did what, when."""
    with runs_below(folder) as runs:
        save_png(draw(weather(timings(runs))), IMAGES / "weather.png", 200)


def shrink(drawn: Path) -> None:
    """Replace a PNG by a JPEG of half the size each way."""
    with Image.open(drawn) as image:
        half = image.convert("RGB").resize((image.width // 2, image.height // 2), Image.LANCZOS)
    half.save(drawn.with_suffix(".jpg"), quality=85)
    drawn.unlink()


if __name__ == "__main__":
    sys.exit(main())
