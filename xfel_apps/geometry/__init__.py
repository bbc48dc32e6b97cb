"""Beam, detector panels and stills geometry in the laboratory frame of dxtbx (imgCIF).

Right-handed, x along a standard detector's fast axis, y up, the source at +z: the beam travels
along -z, s0 = (0, 0, -1) / wavelength. Scattering vectors carry no 2 pi.
"""

from xfel_apps.geometry.beam import Beam
from xfel_apps.geometry.panels import Detector, Panel

__all__ = ["Beam", "Detector", "Panel"]
