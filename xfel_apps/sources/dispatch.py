"""Which module reads a raw file."""

from pathlib import Path
from typing import Protocol

from xfel_apps.errors import GeometryError, NotYetError, SourceError
from xfel_apps.sources import crystfel, imgcif, minicbf, nxmx
from xfel_apps.sources.hdf5_state import is_hdf5
from xfel_apps.sources.raw import RawFile


class Format(Protocol):
    """A module that reads one raw format."""

    def understands(self, path: Path, geometry: Path | None) -> bool:
        """Return whether this module reads `path`, with the geometry file given."""

    def open_file(self, path: Path, geometry: Path | None) -> RawFile:
        """Return the file, open for reading."""


FORMATS: tuple[Format, ...] = (nxmx, crystfel, minicbf, imgcif)


def open_raw(path: Path, geometry: Path | None = None) -> RawFile:
    """Return the raw file `path`, open for reading.

    Parameters
    ----------
    path : NXmx HDF5, CXI or plain HDF5, imgCIF or miniCBF (these also as .gz or .bz2)
    geometry : CrystFEL `.geom` file that goes with a CXI or plain HDF5 file
    """
    check_readable(path, "raw file")
    if geometry is not None:
        check_readable(geometry, "geometry file")
    for module in FORMATS:
        if module.understands(path, geometry):
            return module.open_file(path, geometry)
    if is_hdf5(path):
        if geometry is None:
            raise GeometryError(
                f"{path}: no NXmx geometry inside; give the CrystFEL .geom file that goes with it"
            )
        names = ", ".join(crystfel.expected(geometry))
        raise GeometryError(f"{path}: not the data that {geometry} describes ({names})")
    raise SourceError(
        f"{path}: not an image this software reads (NXmx or CXI HDF5, imgCIF or miniCBF)"
    )


def worth_trying(path: Path, geometry: Path | None) -> bool:
    """Return whether a file of a folder is to be read: not a sound HDF5 file without frames."""
    try:
        if not is_hdf5(path):
            return True
        return any(module.understands(path, geometry) for module in FORMATS)
    except SourceError:
        return True


def check_readable(path: Path, what: str) -> None:
    """Raise `SourceError` unless `path` is a file with something in it."""
    if not path.is_file():
        raise SourceError(f"{path}: no such {what}")
    if path.stat().st_size == 0:
        raise NotYetError(f"{path}: {what} is empty (0 bytes)")
