"""Write CrystFEL geometry files: a detector from scratch, or new places in an old file.

Source: the manual page crystfel_geometry(5).
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry import Detector, Panel
from xfel_apps.sources.convert import FROM_MCSTAS
from xfel_apps.sources.geom import Geom, parse_geom
from xfel_apps.units import energy_from_wavelength

Array = NDArray[np.float64]

MOVED = ("fs", "ss", "corner_x", "corner_y", "coffset")
"""What of a panel a refinement changes."""


def new_geom(detector: Detector, wavelength_ang: float, comment: str) -> str:
    """Return a geometry file of the detector; its frames lie in `/entry/data/data`.

    Parameters
    ----------
    detector : panels with square pixels
    wavelength_ang : of the photon energy that is written [Angstrom]
    comment : one line at the top
    """
    distance_mm = round(float(np.mean([-panel.origin_mm[2] for panel in detector.panels])), 3)
    lines = [
        f"; {comment}",
        f"photon_energy = {energy_from_wavelength(wavelength_ang):.6f} eV",
        f"clen = {1e-3 * distance_mm:.6f}",
        "data = /entry/data/data",
        "dim0 = %",
        "dim1 = ss",
        "dim2 = fs",
    ]
    for panel in detector.panels:
        (ss, fs), (n_ss, n_fs) = panel.slab_start, panel.shape
        low, high = panel.trusted
        lines += [
            "",
            f"{panel.name}/min_fs = {fs}",
            f"{panel.name}/max_fs = {fs + n_fs - 1}",
            f"{panel.name}/min_ss = {ss}",
            f"{panel.name}/max_ss = {ss + n_ss - 1}",
            f"{panel.name}/res = {1e3 / panel.pixel_mm[0]:.12g}",
            f"{panel.name}/adu_per_photon = {panel.gain:.12g}",
            f"{panel.name}/flag_lessthan = {low:.12g}",
            f"{panel.name}/max_adu = {high:.12g}",
            *_moved(panel, FROM_MCSTAS @ panel.origin_mm - [0.0, 0.0, distance_mm]),
        ]
    return "\n".join(lines) + "\n"


def moved_geom(path: Path, before: Detector, after: Detector, comment: str) -> str:
    """Return the text of the geometry file `path` with its panels moved; all else stays.

    Parameters
    ----------
    path : file that `before` was made from
    before, after : the detector as the file has it, and as it is to be
    comment : one line at the top
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as err:
        raise SourceError(f"{path}: not a readable geometry file ({err})") from err
    geom = parse_geom(text, str(path))
    known = {panel.name: i for i, panel in enumerate(after.panels)}
    written: set[str] = set()
    lines = [f"; {comment}"]
    for line in text.splitlines():
        found = re.match(r"\s*([^;=]+)/(\w+)\s*=", line)
        name = found[1].strip() if found else ""
        if not found or name not in known or found[2] not in MOVED:
            lines.append(line)
        elif name not in written:
            written.add(name)
            lines += _lines(geom, name, (before.panels[known[name]], after.panels[known[name]]))
    for name in known.keys() - written:
        raise GeometryError(f"{path}: says nothing about where panel {name} lies; is it the file?")
    return "\n".join(lines) + "\n"


def _lines(geom: Geom, name: str, panels: tuple[Panel, Panel]) -> Iterator[str]:
    """Return the lines of a panel that has moved from where the file has it."""
    old = next(panel for panel in geom.panels if panel.name == name)
    before, after = panels
    pixel_mm = 1e3 / old.number("res")
    corner = pixel_mm * np.array([old.number("corner_x"), old.number("corner_y"), 0.0])
    corner[2] = 1e3 * old.number("coffset", 0.0)
    change = FROM_MCSTAS @ np.subtract(after.origin_mm, before.origin_mm)
    return _moved(after, corner + change, pixel_mm)


def _moved(panel: Panel, corner_mm: Array, pixel_mm: float | None = None) -> Iterator[str]:
    """Yield the lines of a panel whose first corner is at `corner_mm` (3,) in CrystFEL's frame."""
    unit_mm = pixel_mm or panel.pixel_mm[0]
    for key, axis, size in (
        ("fs", panel.fast, panel.pixel_mm[0]),
        ("ss", panel.slow, panel.pixel_mm[1]),
    ):
        x, y, z = FROM_MCSTAS @ np.multiply(axis, size / unit_mm)
        yield f"{panel.name}/{key} = {x:+.12f}x {y:+.12f}y {z:+.12f}z"
    yield f"{panel.name}/corner_x = {corner_mm[0] / unit_mm:.9f}"
    yield f"{panel.name}/corner_y = {corner_mm[1] / unit_mm:.9f}"
    yield f"{panel.name}/coffset = {1e-3 * corner_mm[2]:.12f}"
