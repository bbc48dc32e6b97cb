"""Units and frames of the raw formats, converted to those used inside the package."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError
from xfel_apps.units import HC_EV_ANG

Array = NDArray[np.float64]

LENGTHS_MM = {
    "m": 1e3, "meter": 1e3, "metre": 1e3, "meters": 1e3, "metres": 1e3,
    "cm": 10.0,
    "mm": 1.0, "millimeter": 1.0, "millimetre": 1.0, "millimeters": 1.0, "millimetres": 1.0,
    "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "microns": 1e-3, "micrometer": 1e-3,
    "nm": 1e-6,
    "angstrom": 1e-7, "angstroms": 1e-7, "a": 1e-7, "å": 1e-7,
}  # fmt: skip
"""Millimetres in one unit."""

ANGLES_RAD = {
    "deg": np.pi / 180, "degree": np.pi / 180, "degrees": np.pi / 180,
    "rad": 1.0, "radian": 1.0, "radians": 1.0, "mrad": 1e-3,
}  # fmt: skip
"""Radians in one unit."""

ENERGIES_EV = {"ev": 1.0, "kev": 1e3, "mev": 1e6, "j": 1 / 1.602176634e-19}
"""Electronvolts in one unit (CODATA 2018)."""

ENERGIES_MJ = {"j": 1e3, "joule": 1e3, "mj": 1.0, "uj": 1e-3, "µj": 1e-3}
"""Millijoules in one unit."""


def unit_factor(table: dict[str, float], unit: str, where: str) -> float:
    """Return the factor of `unit` in `table`; `where` names the item in the error."""
    try:
        return table[unit.strip().lower()]
    except KeyError as err:
        known = ", ".join(table)
        raise GeometryError(f"{where}: unit {unit!r} is not one of {known}") from err


def wavelength_converter(unit: str, where: str) -> Callable[[Any], Any]:
    """Return a function from a wavelength or photon energy in `unit` to Angstrom.

    >>> round(float(wavelength_converter("keV", "here")(12.39841984)), 6)
    1.0
    """
    name = unit.strip().lower()
    if name in ENERGIES_EV:
        return lambda energy: HC_EV_ANG / (np.asarray(energy) * ENERGIES_EV[name])
    factor = unit_factor(LENGTHS_MM, unit, where) / LENGTHS_MM["angstrom"]
    return lambda wavelength: np.asarray(wavelength) * factor


FROM_MCSTAS = np.diag([-1.0, 1.0, -1.0])
"""NeXus (McStas) and CrystFEL have z along the beam and y up; dxtbx has z to the source, y up."""


def vector(values: Any) -> tuple[float, float, float]:
    """Return three plain floats; -0.0 becomes 0.0 so that equal geometries give equal text."""
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z


def unit_vector(values: Any, where: str) -> tuple[float, float, float]:
    """Return `values` at unit length."""
    length = float(np.linalg.norm(values))
    if not length > 0:
        raise GeometryError(f"{where}: direction {list(map(float, values))} has no length")
    return vector(np.asarray(values) / length)


def rotation(axis: Array, angle_rad: float) -> Array:
    """Return the (3, 3) right-handed rotation about `axis` (3,), of any length (Rodrigues).

    >>> (rotation(np.array([0.0, 0.0, 2.0]), np.pi / 2) @ [1.0, 0.0, 0.0]).round(6) + 0.0
    array([0., 1., 0.])
    """
    x, y, z = np.asarray(axis) / np.linalg.norm(axis)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(
        np.eye(3) + np.sin(angle_rad) * cross + (1 - np.cos(angle_rad)) * cross @ cross
    )
