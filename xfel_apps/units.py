"""Physical constants and conversions. Inside the package: Angstrom, mm, eV, photons."""

HC_EV_ANG = 12398.419843320026
"""Planck constant times speed of light [eV Angstrom] (CODATA 2018, exact)."""

R_ELECTRON_M = 2.8179403262e-15
"""Classical electron radius [m] (CODATA 2018)."""


def wavelength_from_energy(energy_ev: float) -> float:
    """Return the wavelength [Angstrom] of photons of `energy_ev` [eV].

    >>> round(wavelength_from_energy(9500.0), 5)
    1.3051
    """
    return HC_EV_ANG / energy_ev


def energy_from_wavelength(wavelength_ang: float) -> float:
    """Return the photon energy [eV] at `wavelength_ang` [Angstrom].

    >>> round(energy_from_wavelength(1.0), 1)
    12398.4
    """
    return HC_EV_ANG / wavelength_ang
