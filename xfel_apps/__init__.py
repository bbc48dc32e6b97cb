"""xfelflow: raw frames of an X-ray free-electron laser to structure factors."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("xfelflow")
except PackageNotFoundError:  # a checkout that is used without being installed
    __version__ = "0+checkout"
