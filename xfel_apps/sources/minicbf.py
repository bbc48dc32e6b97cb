"""miniCBF of DECTRIS' Pilatus and Eiger: one frame, its geometry in comments."""

import base64
import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from fabio.compression import decByteOffset
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, NotYetError, SourceError
from xfel_apps.geometry import Beam, Detector, Panel
from xfel_apps.sources import cbf
from xfel_apps.sources.convert import LENGTHS_MM, unit_factor
from xfel_apps.sources.sensor import mu_invmm
from xfel_apps.units import energy_from_wavelength

ELEMENTS = {
    "signed 32-bit integer": "int32",
    "unsigned 32-bit integer": "uint32",
    "signed 16-bit integer": "int16",
    "unsigned 16-bit integer": "uint16",
}
"""Types of pixels."""

NUMBER = r"([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?)"


def understands(path: Path, _geometry: Path | None) -> bool:
    """Return whether the file is a CBF with DECTRIS' header."""
    return cbf.is_cbf(path) and cbf.has_mini_header(path)


def open_file(path: Path, _geometry: Path | None) -> "MiniCbfFile":
    """Return the file, open for reading."""
    return MiniCbfFile(path)


class MiniCbfFile:
    """One miniCBF file: one frame."""

    n_frames = n_known = 1
    awaits: tuple[Path, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        head = cbf.read_bytes(path, cbf.HEADER_BYTES)
        self._header = head.partition(cbf.BINARY_START)[0].decode("latin-1")
        self._binary = head.partition(cbf.BINARY_START)[2][:2048].decode("latin-1")

    def n_complete(self) -> int:
        """Return 1 once the image is as long as its header says."""
        try:
            self._stored()
        except SourceError:
            return 0
        return 1

    def beam(self, _frame: int) -> Beam:
        """Return the beam; the header's polarisation, or dxtbx' default."""
        fraction = self._find(rf"Polarization\s+{NUMBER}")
        wavelength_ang = float(self._need(rf"Wavelength\s+{NUMBER}\s*A", "Wavelength")[0])
        if fraction and 0.5 <= float(fraction[0]) <= 1.0:
            return Beam(wavelength_ang, polarization_fraction=float(fraction[0]))
        return Beam(wavelength_ang)

    @cached_property
    def _detector(self) -> Detector:
        x_size, x_unit, y_size, y_unit = self._need(
            rf"Pixel_size\s+{NUMBER}\s*(\w+)\s*x\s*{NUMBER}\s*(\w+)", "Pixel_size"
        )
        fast_mm = float(x_size) * self._factor(x_unit)
        slow_mm = float(y_size) * self._factor(y_unit)
        distance, unit = self._need(rf"Detector_distance\s+{NUMBER}\s*(\w+)", "Detector_distance")
        beam_x, beam_y = self._need(
            rf"Beam_xy\s+\(?\s*{NUMBER}\s*,\s*{NUMBER}\s*\)?\s*pixels?", "Beam_xy"
        )
        two_theta = self._find(rf"Detector_2theta\s+{NUMBER}")
        if two_theta and abs(float(two_theta[0])) > 1e-3:
            raise GeometryError(
                f"{self.path}: Detector_2theta {two_theta[0]} is not handled; the axis is not in "
                "the header. Convert the images to NXmx"
            )
        panel = Panel(
            name="panel",
            origin_mm=(
                -float(beam_x) * fast_mm,
                float(beam_y) * slow_mm,
                -float(distance) * self._factor(unit),
            ),
            fast=(1.0, 0.0, 0.0),
            slow=(0.0, -1.0, 0.0),
            pixel_mm=(fast_mm, slow_mm),
            shape=self._shape,
            trusted=(0.0, self._cutoff),
            **self._sensor,
        )
        return Detector((panel,), self._shape)

    @property
    def _sensor(self) -> dict[str, Any]:
        found = self._find(rf"(\w+) sensor, thickness\s+{NUMBER}\s*(\w+)")
        if not found:
            return {}
        material, thickness, unit = found
        energy_ev = energy_from_wavelength(self.beam(0).wavelength_ang)
        return {
            "thickness_mm": round(float(thickness) * self._factor(unit), 6),
            "mu_invmm": mu_invmm(material, energy_ev),
        }

    @property
    def _cutoff(self) -> float:
        found = self._find(rf"Count_cutoff\s+{NUMBER}")
        return float(found[0]) if found else 1e9

    @property
    def _shape(self) -> tuple[int, int]:
        """Frame (slow, fast) as the binary section's own header has it."""
        slow, fast = (
            int(self._binary_item(rf"X-Binary-Size-{name}-Dimension:\s*(\d+)"))
            for name in ("Second", "Fastest")
        )
        return slow, fast

    def _factor(self, unit: str) -> float:
        return unit_factor(LENGTHS_MM, unit, f"{self.path}: header")

    def _find(self, pattern: str) -> tuple[str, ...]:
        found = re.search(rf"^#\s*{pattern}", self._header, re.MULTILINE)
        return found.groups() if found else ()

    def _need(self, pattern: str, name: str) -> tuple[str, ...]:
        found = self._find(pattern)
        if not found:
            raise GeometryError(f"{self.path}: no {name} in the header")
        return found

    def detector(self, _frame: int) -> Detector:
        """Return the detector: flat, at right angles to the beam."""
        return self._detector

    def scalars(self, _frame: int) -> dict[str, float]:
        """Return the time in the header."""
        time_s = cbf.timestamp_s(self._header)
        return {} if time_s is None else {"timestamp_s": time_s}

    def problem(self, _frame: int) -> str:
        """Return nothing: what is wrong shows when the frame is read."""
        return ""

    @cached_property
    def _pixels(self) -> NDArray[Any]:
        """The one frame; kept, for its mask needs it too."""
        data = self._decode(self._payload())
        if data.size != np.prod(self._shape):
            raise SourceError(
                f"{self.path}: image of {data.size} pixels, its header says {self._shape}"
            )
        return data.reshape(self._shape)

    def _stored(self) -> bytes:
        """Return the compressed image, all of it."""
        section = cbf.read_bytes(self.path).partition(cbf.BINARY_START)[2]
        size = int(self._binary_item(r"X-Binary-Size:\s*(\d+)"))
        payload = section.partition(cbf.PAYLOAD_START)[2][:size]
        if len(payload) < size:
            raise NotYetError(
                f"{self.path}: image of {len(payload)} bytes, expected {size}: the file is cut "
                "short"
            )
        return payload

    def _payload(self) -> bytes:
        """Return the compressed image, whole and with the right checksum."""
        payload = self._stored()
        checksum = re.search(r"Content-MD5:\s*(\S+)", self._binary)
        found = base64.b64encode(hashlib.md5(payload, usedforsecurity=False).digest()).decode()
        if checksum and checksum[1] != found:
            raise SourceError(f"{self.path}: the image is damaged (its MD5 checksum is wrong)")
        return payload

    def _decode(self, payload: bytes) -> NDArray[Any]:
        """Return the pixels (n,) of a byte-offset compressed image."""
        compression = self._binary_item(r'conversions="([^"]+)"')
        if compression.upper() != "X-CBF_BYTE_OFFSET":
            raise SourceError(f"{self.path}: compression {compression}, expected x-CBF_BYTE_OFFSET")
        kind = self._binary_item(r'X-Binary-Element-Type:\s*"([^"]+)"')
        if kind not in ELEMENTS:
            raise SourceError(f"{self.path}: elements are {kind}; expected {', '.join(ELEMENTS)}")
        n_pixels = int(np.prod(self._shape))
        return np.asarray(decByteOffset(payload, size=n_pixels, dtype=ELEMENTS[kind]))

    def _binary_item(self, pattern: str) -> str:
        found = re.search(pattern, self._binary)
        if found is None:
            name = pattern.partition(":")[0].partition("=")[0]
            raise SourceError(f"{self.path}: no {name} before the image; the file may be cut short")
        return found[1]

    def mask(self, _frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast): gaps are -1, dead pixels -2."""
        return self._pixels >= 0

    def pixels(self, _frame: int) -> NDArray[Any]:
        """Return the frame (slow, fast) [ADU]."""
        return self._pixels

    def close(self) -> None:
        """Forget the frame."""
        self.__dict__.pop("_pixels", None)
