"""imgCIF: CBF with its full geometry as categories; any number of arrays, sections and axes.

The lab frame of imgCIF is that of dxtbx: x along the principal axis, z to the source.
"""

import warnings
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from xfel_apps.errors import GeometryError, SourceError
from xfel_apps.geometry import Beam, Detector
from xfel_apps.sources import cbf
from xfel_apps.sources.convert import vector
from xfel_apps.sources.imgcif_geometry import Table, Tables, number, read_detector

with warnings.catch_warnings():  # pycbf crashes on import where warnings are errors
    warnings.simplefilter("ignore", DeprecationWarning)
    import pycbf

CATEGORIES = (
    "diffrn_data_frame", "array_structure_list", "array_structure_list_section",
    "array_structure_list_axis", "axis", "diffrn_scan_axis", "diffrn_scan_frame_axis",
    "array_intensities", "diffrn_radiation", "diffrn_radiation_wavelength", "diffrn_scan_frame",
    "array_structure",
)  # fmt: skip
"""Categories of the header that are read."""


def understands(path: Path, _geometry: Path | None) -> bool:
    """Return whether the file is a CBF with imgCIF categories."""
    return cbf.is_cbf(path) and not cbf.has_mini_header(path)


def open_file(path: Path, _geometry: Path | None) -> "ImgCifFile":
    """Return the file, open for reading."""
    return ImgCifFile(path)


class ImgCifFile:
    """One imgCIF file: one frame of one or more arrays."""

    n_frames = n_known = 1
    awaits: tuple[Path, ...] = ()

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = cast(Any, pycbf).cbf_handle_struct()
        try:
            if path.suffix == ".cbf":
                self._handle.read_widefile(str(path), pycbf.MSG_DIGEST)
            else:
                self._handle.read_buffer(cbf.read_bytes(path), pycbf.MSG_DIGEST)
            self._tables: Tables = {name: self._table(name) for name in CATEGORIES}
        except Exception as err:  # pycbf raises bare Exception
            if isinstance(err, SourceError):
                raise
            raise SourceError(f"{path}: not a complete CBF file ({_plain(err)})") from err

    def n_complete(self) -> int:
        """Return 1 once every image has its end."""
        return int(cbf.all_images_end(self.path))

    def _table(self, name: str) -> Table:
        """Return the rows of a category as dictionaries; none if it is absent."""
        handle = self._handle
        try:
            handle.find_category(name.encode())
        except Exception:  # pycbf raises bare Exception
            return []
        columns = []
        for index in range(handle.count_columns()):
            handle.select_column(index)
            columns.append(_text(handle.column_name()))
        rows = []
        for row in range(handle.count_rows()):
            handle.select_row(row)
            values = []
            for index in range(len(columns)):
                handle.select_column(index)
                values.append(_text(handle.get_value()))
            rows.append(dict(zip(columns, values, strict=True)))
        return rows

    def beam(self, _frame: int) -> Beam:
        """Return the beam: wavelength (weighted mean of a list), direction and polarisation."""
        rows = self._tables["diffrn_radiation_wavelength"]
        waves = [(number(r, "wavelength", np.nan), number(r, "wt", 1.0)) for r in rows]
        if not waves:
            raise GeometryError(f"{self.path}: no _diffrn_radiation_wavelength.wavelength")
        wavelength_ang = sum(w * wt for w, wt in waves) / sum(wt for _, wt in waves)
        radiation = self._tables["diffrn_radiation"]
        ratio = number(radiation[0], "polarizn_source_ratio", np.nan) if radiation else np.nan
        fraction = 0.999 if np.isnan(ratio) else (1.0 + ratio) / 2.0
        return Beam(float(wavelength_ang), self._direction, polarization_fraction=fraction)

    @property
    def _direction(self) -> tuple[float, float, float]:
        """Direction of the photons, away from the source; along -z if there is no such axis."""
        for row in self._tables["axis"]:
            if row.get("equipment") == "source":
                return vector([-number(row, f"vector[{i}]", 0.0) for i in (1, 2, 3)])
        return 0.0, 0.0, -1.0

    @cached_property
    def _detector(self) -> Detector:
        return read_detector(self._tables, self.path)

    def detector(self, _frame: int) -> Detector:
        """Return the detector: a panel for each section, the arrays one below the other."""
        return self._detector

    def scalars(self, _frame: int) -> dict[str, float]:
        """Return the time of the frame."""
        rows = self._tables["diffrn_scan_frame"]
        time_s = cbf.timestamp_s(rows[0].get("date", "")) if rows else None
        return {} if time_s is None else {"timestamp_s": time_s}

    def problem(self, _frame: int) -> str:
        """Return nothing: what is wrong shows when the frame is read."""
        return ""

    def mask(self, _frame: int) -> NDArray[np.bool_]:
        """Return the usable pixels (slow, fast): those of a panel."""
        return self._mask

    @cached_property
    def _mask(self) -> NDArray[np.bool_]:
        return self._detector.panel_map() >= 0

    def pixels(self, _frame: int) -> NDArray[Any]:
        """Return the frame (slow, fast) [ADU], arrays one below the other."""
        handle = self._handle
        parts = []
        try:
            handle.find_category(b"array_data")
            handle.find_column(b"data")
            for row in range(handle.count_rows()):
                handle.select_row(row)
                parts.append(self._decode())
        except SourceError:
            raise
        except Exception as err:  # pycbf raises bare Exception
            raise SourceError(f"{self.path}: cannot decode the image ({_plain(err)})") from err
        if not parts or len({part.shape[1] for part in parts}) != 1:
            raise SourceError(f"{self.path}: arrays of unequal width, or none")
        slab = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if slab.shape != self._detector.slab_shape:
            raise SourceError(
                f"{self.path}: image of {slab.shape}, its header says {self._detector.slab_shape}"
            )
        return slab

    def _decode(self) -> NDArray[Any]:
        """Return the array of the row that the handle is at, as (slow, fast)."""
        handle = self._handle
        if b"bnry" not in handle.get_typeofvalue():
            raise SourceError(f"{self.path}: an array is not stored in binary")
        is_real = any(
            "real" in row.get("encoding_type", "") for row in self._tables["array_structure"]
        )
        if is_real:
            _, _, size, _, _, n_fast, *_ = handle.get_realarrayparameters_wdims()
            return self._shaped(handle.get_realarray_as_string(), f"<f{size}", n_fast)
        _, _, size, signed, _, _, _, _, _, n_fast, *_ = handle.get_integerarrayparameters_wdims()
        kind = "i" if signed else "u"
        return self._shaped(handle.get_integerarray_as_string(), f"<{kind}{size}", n_fast)

    @staticmethod
    def _shaped(raw: bytes, dtype: str, n_fast: int) -> NDArray[Any]:
        return np.frombuffer(raw, dtype).reshape(-1, n_fast)

    def close(self) -> None:
        """Forget the file."""
        self._handle = None


def _text(value: Any) -> str:
    """Return a value of pycbf as text; "" for what is missing."""
    found = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    return "" if found in (".", "?") else found


def _plain(err: Exception) -> str:
    return " ".join(str(err).split())
