"""The dashboard's pages: each module here is one, with a template of the same name.

A page is a module with `PAGE`, a `Page`; its router answers `/NAME` and what lies below.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from xfel_apps.dashboard.pages.page import Page


@cache
def pages() -> tuple[Page, ...]:
    """Return all pages in the order of the navigation."""
    names = [item.name for item in iter_modules(__path__) if item.name != "page"]
    found = [import_module(f"{__name__}.{name}").PAGE for name in names]
    return tuple(sorted(found, key=lambda page: page.order))
