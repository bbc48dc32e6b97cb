"""Names that people give: what they may look like."""

import re

from xfel_apps.catalog.models import NAME
from xfel_apps.errors import CatalogError

TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""Of what has a folder of its name; as `xfel_apps.experiment.Name`."""
ACTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]*")


def checked_name(text: str, what: str) -> str:
    """Return a name of a run, tag, dataset, ... that is safe in paths, pages and statements.

    >>> checked_name("apo+10ms", "tag")
    'apo+10ms'
    >>> checked_name("<b>", "tag")
    Traceback (most recent call last):
    xfel_apps.errors.CatalogError: tag '<b>': a name begins with a letter or digit, ...
    """
    pattern, extra = {"tag": (TAG, "+"), "actor": (ACTOR, "+ @")}.get(what, (FOLDER, ""))
    if not pattern.fullmatch(text) or len(text) > NAME:
        shown = text if len(text) <= NAME else f"{text[:NAME]}..."
        raise CatalogError(
            f"{what} {shown!r}: a name begins with a letter or digit, goes on with letters, digits "
            f"and {' '.join(f'. _ - {extra}'.split())}, and has at most {NAME} characters"
        )
    return text
