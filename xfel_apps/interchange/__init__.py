"""interchange: results as DIALS and CrystFEL write them, out of our containers and into them."""

from xfel_apps.interchange.export import export
from xfel_apps.interchange.load import load

__all__ = ["export", "load"]
