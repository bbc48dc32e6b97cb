"""Settings of the simulation, grouped as the things they describe."""

from typing import Annotated, Literal

import gemmi
from pydantic import AfterValidator, Field

from xfel_apps.config import Section

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _element(symbol: str) -> str:
    if symbol and gemmi.Element(symbol).atomic_number == 0:
        raise ValueError(f"{symbol!r} is no element; give a symbol like Se, Gd or Yb, or nothing")
    return symbol


Element = Annotated[str, AfterValidator(_element)]


class CrystalSettings(Section):
    """The crystals in the jet."""

    cell: tuple[Positive, Positive, Positive, Positive, Positive, Positive] = (
        79.2,
        79.2,
        38.0,
        90.0,
        90.0,
        90.0,
    )
    """Cell of the built-in structure [Angstrom, degrees]; a model brings its own."""
    space_group: str = "P43212"
    """Space group of the built-in structure; a model brings its own."""
    d_min_ang: Positive = 1.75
    """Resolution to which structure factors are computed [Angstrom]."""
    mtz_label: str = ""
    """Column of an MTZ with amplitudes or intensities; empty: the first of type F, else J."""
    cell_spread: NotNegative = 0.001
    """Relative standard deviation of the cell's lengths from crystal to crystal."""
    size_um: Positive = 1.5
    """Edge of a crystal as large as a cube [um]."""
    size_spread: NotNegative = 0.7
    """Standard deviation of the logarithm of the scattering power from crystal to crystal."""
    block_ang: Positive = 1550.0
    """Edge of a coherent block, along a, b and c [Angstrom]."""
    mosaicity_deg: NotNegative | tuple[NotNegative, NotNegative, NotNegative] = 0.05
    """Full width at half height of the angles by which mosaic domains are turned [degrees]; three
    numbers: about the crystal's own axes a, c* x a and c*."""
    domains: Count = 10
    """Mosaic domains that stand for the distribution; their mean is the crystal's orientation."""
    interpolation: Literal["nearest", "tricubic"] = "nearest"
    """Structure factors between Miller indices: of the nearest, or by nanoBragg's interpolation."""
    crystals_per_hit: Count = 1
    """Crystals in the beam at once on a hit."""
    heavy_element: Element = ""
    """Element of heavy atoms added to the built-in structure, like "Gd"; empty: none."""
    heavy_sites: Count = 2
    """Heavy atoms in the asymmetric unit of the built-in structure, where there are any."""
    anomalous: bool = False
    """Whether atoms scatter anomalously at the beam's energy: F(+) and F(-) then differ."""


class BeamSettings(Section):
    """The pulses."""

    energy_ev: Positive = 9500.0
    """Mean photon energy [eV]."""
    jitter: NotNegative = 5e-4
    """Relative standard deviation of the wavelength from shot to shot."""
    bandwidth: NotNegative = 0.0
    """Relative full width at half height of each pulse's spectrum, a Gaussian."""
    wavelengths: Count = 5
    """Wavelengths that stand for the spectrum, where the bandwidth is not 0."""
    sase: bool = False
    """Whether each pulse has a spectrum of random spikes under the Gaussian; needs about 100
    wavelengths."""
    divergence_mrad: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Full width at half height of the beam's directions, across and along the vertical [mrad]."""
    directions: Count = 7
    """Directions that stand for the divergence, where it is not 0."""
    photons: Positive = 5e10
    """Photons in the focus a pulse, on average."""
    focus_um: Positive = 3.0
    """Edge of the focus, square and even [um]."""
    pulse_energy_mj: Positive = 1.5
    """Mean pulse energy before the optics [mJ]."""
    pulse_energy_spread: NotNegative = 0.15
    """Relative standard deviation of the pulse energy; the photons in the focus follow it."""
    laser_every: Count = 2
    """The pump laser is on at the first of so many shots."""


class DetectorSettings(Section):
    """Modules in rows and columns on one plane across the beam, and what is wrong with them."""

    modules: tuple[Count, Count] = (1, 1)
    """Modules along (slow, fast)."""
    module_px: tuple[Count, Count] = (1024, 1024)
    """Pixels of a module along (slow, fast)."""
    gap_px: NotNegative = 8.0
    """Room between modules [pixels]."""
    tilt_deg: NotNegative = 0.0
    """Standard deviation of the angles by which each module is turned about x, y and z [degrees]"""
    pixel_mm: Positive = 0.1
    """Edge of a pixel [mm]."""
    distance_mm: Positive = 80.0
    """From the crystal to the plane of the modules [mm]."""
    beam_mm: tuple[float, float] = (0.33, -0.27)
    """Where the middle of the detector lies from the beam, along lab (x, y) [mm]."""
    sensor_um: NotNegative = 0.0
    """Thickness of the sensor, where photons at an angle leave signal farther out [um]; 0: all are
    counted at its surface."""
    attenuation_um: Positive = 115.0
    """Depth of the sensor at which 1/e of the photons are left (silicon, 9.5 keV) [um]."""
    layers: Count = 4
    """Layers that stand for the depths of a thick sensor."""
    spread_fwhm_px: NotNegative = 0.0
    """Full width at half height to which the signal of a photon spreads over pixels [pixels]."""
    spread_shape: Literal["gaussian", "fiber"] = "gaussian"
    """Shape of that: "gaussian" in a sensor, "fiber" with the long tails of a fibre-optic taper."""
    gain: Positive = 1.0
    """Detector counts a photon [ADU]."""
    gain_spread: NotNegative = 0.0
    """Relative standard deviation of the gain from pixel to pixel that calibration left."""
    read_noise_adu: NotNegative = 0.0
    """Standard deviation of the read-out noise [ADU]; without it counts are never negative."""
    saturation_adu: Annotated[int, Field(gt=0, lt=2**31 - 1)] = 60000
    """Highest count that can be trusted; above it pixels read one more [ADU]."""
    hot_fraction: Fraction = 0.0
    """Pixels that always count too much and are not in the mask."""
    dead_fraction: Fraction = 0.0
    """Pixels that read 0 and are in the mask."""


class BackgroundSettings(Section):
    """What the jet and the air scatter."""

    water_photons: NotNegative = 10.0
    """Photons a pixel at the ring of water, about 3.1 Angstrom, average pulse."""
    water_um: NotNegative = 0.0
    """Thickness of the jet [um]; where it is not 0 the photons follow from it instead."""
    water_spread: NotNegative = 0.25
    """Standard deviation of the logarithm of the jet's thickness from shot to shot."""
    air_photons: NotNegative = 3.0
    """Photons a pixel of air next to the beam, average pulse."""
    air_mm: NotNegative = 0.0
    """Path of the beam in air [mm]; where it is not 0 the photons follow from it instead."""


class SimulateSettings(Section):
    """A simulated run."""

    shots: Count = 200
    """Shots of the run."""
    seed: Annotated[int, Field(ge=0)] = 1
    """Equal seeds give equal runs, whatever the number of ranks."""
    hit_fraction: Fraction = 0.5
    """Fraction of the shots with a crystal in the beam."""
    weak_fraction: Fraction = 0.1
    """Fraction of the shots with a crystal at the edge of the beam: `weak_scale` of a hit."""
    weak_scale: Fraction = 0.06
    """Scattering of a weak shot relative to a hit."""
    shots_per_file: Count = 20
    """Frames in a data file; ranks share the files out."""
    shape: Literal["gaussian", "square", "round", "tophat"] = "gaussian"
    """Lattice factor of a block: "gaussian", "square" with the fringes of a parallelepiped, "round"
    with those of an ellipsoid, or "tophat" with a sharp edge."""
    oversample: Count = 1
    """Sub-pixels along each side of a pixel."""
    crystal: CrystalSettings = Field(default_factory=CrystalSettings)
    """The crystals."""
    beam: BeamSettings = Field(default_factory=BeamSettings)
    """The pulses."""
    detector: DetectorSettings = Field(default_factory=DetectorSettings)
    """The detector."""
    background: BackgroundSettings = Field(default_factory=BackgroundSettings)
    """The background."""
