"""Entry point: python -m xfel_apps.report TRIAL [--out report.html]."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from xfel_apps.app import EXIT_CODES, EXIT_ERROR, EXIT_OK
from xfel_apps.errors import XfelError
from xfel_apps.report.page import write_report


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report of a trial; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m xfel_apps.report",
        description="Write one page on everything a trial gave.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("trial", type=Path, help="folder of the trial")
    parser.add_argument("--out", type=Path, help="page to write (default: TRIAL/report.html)")
    args = parser.parse_args(argv)
    try:
        print(f"report: {write_report(args.trial, args.out)}")
    except XfelError as err:
        print(f"error: {err}", file=sys.stderr)
        return EXIT_ERROR
    return EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
