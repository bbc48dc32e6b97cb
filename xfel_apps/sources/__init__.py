"""Raw files: one module a format, each says whether it understands a path.

A format's module has two functions, `understands(path, geometry) -> bool` (cheap: name and first
bytes) and `open_file(path, geometry) -> RawFile`. Frames are slabs: one two-dimensional array
(slow, fast) with every panel in it, in detector counts (ADU) as near to what was stored as
possible. Geometry comes in the lab frame of dxtbx, whatever the format's own frame.
"""

from xfel_apps.sources.cache import FrameCache
from xfel_apps.sources.dispatch import open_raw
from xfel_apps.sources.paths import expand
from xfel_apps.sources.raw import RawFile

__all__ = ["FrameCache", "RawFile", "expand", "open_raw"]
