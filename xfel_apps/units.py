"""Physical constants, conversions, durations. Inside the package: Angstrom, mm, eV, photons."""

import math

HC_EV_ANG = 12398.419843320026
"""Planck constant times speed of light [eV Angstrom] (CODATA 2018, exact)."""

R_ELECTRON_M = 2.8179403262e-15
"""Classical electron radius [m] (CODATA 2018)."""

TIMES = ((1.0, "s", 60.0), (60.0, "min", 3600.0), (3600.0, "h", 86400.0), (86400.0, "d", math.inf))
"""Units of time: in seconds, name, and up to which time [s] each is used."""


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


def duration(seconds: float) -> str:
    """Return a duration in the two largest units that say something.

    >>> duration(42), duration(3 * 60 + 5), duration(7300), duration(200000)
    ('42 s', '3 min 05 s', '2 h 01 min', '2 d 07 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02d} h"


def brief(seconds: float) -> str:
    """Return a time as one number of two digits.

    >>> [brief(s) for s in (0.04, 3.21, 75, 4000, 200000)]
    ['0.04 s', '3.2 s', '1.2 min', '1.1 h', '2.3 d']
    """
    for unit, name, below in TIMES:
        if abs(seconds) < below:
            return f"{float(f'{seconds / unit:.2g}'):g} {name}"
    raise ValueError(f"{seconds} is no time")
