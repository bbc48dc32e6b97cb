"""report: what a trial gave, on one page that stands alone."""

from xfel_apps.report.page import write_report

__all__ = ["write_report"]
