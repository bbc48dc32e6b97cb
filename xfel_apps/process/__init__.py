"""process: any images, no configuration file, every stage in one go."""

from xfel_apps.process.chain import Request, process

__all__ = ["Request", "process"]
