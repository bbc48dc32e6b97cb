"""Absorption of sensors: how deep photons are converted, for the parallax correction."""

from functools import lru_cache

import gemmi

from xfel_apps.units import R_ELECTRON_M, wavelength_from_energy

AVOGADRO = 6.02214076e23
ENERGY_STEP_EV = 50.0

SENSORS: dict[str, tuple[float, tuple[tuple[int, float], ...]]] = {
    "si": (2.329, ((14, 28.085),)),
    "ge": (5.323, ((32, 72.63),)),
    "cdte": (5.85, ((48, 112.414), (52, 127.60))),
    "gaas": (5.3176, ((31, 69.723), (33, 74.922))),
}
"""Density [g/cm^3] and (atomic number, atomic weight) of the elements, one atom each."""

NAMES = {"silicon": "si", "germanium": "ge"}


@lru_cache
def mu_invmm(material: str, energy_ev: float) -> float:
    """Return the absorption coefficient [1/mm] of a sensor; 0 for a material not known.

    Photoelectric absorption by the optical theorem, mu = 2 n r_e lambda f''; f'' of Cromer &
    Liberman (1970), J. Chem. Phys. 53, 1891. Taken at the nearest 50 eV, so that the shots of a
    jittering beam share one detector.
    """
    name = material.strip().lower()
    sensor = SENSORS.get(NAMES.get(name, name))
    energy_ev = max(1.0, round(energy_ev / ENERGY_STEP_EV)) * ENERGY_STEP_EV
    if sensor is None:
        return 0.0
    density, elements = sensor
    n_invmm3 = density * 1e-3 * AVOGADRO / sum(weight for _, weight in elements)
    f2 = sum(gemmi.cromer_liberman(z=z, energy=energy_ev)[1] for z, _ in elements)
    wavelength_mm = wavelength_from_energy(energy_ev) * 1e-7
    return round(2.0 * n_invmm3 * R_ELECTRON_M * 1e3 * wavelength_mm * f2, 6)
