"""status: what is done, what is running and what failed, read while the apps write."""

from xfel_apps.status.progress import StageProgress, stages_of
from xfel_apps.status.show import show_status

__all__ = ["StageProgress", "show_status", "stages_of"]
