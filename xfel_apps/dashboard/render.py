"""Templates to pages: everything that is put into one is escaped."""

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse

from xfel_apps import __version__
from xfel_apps.dashboard.sessions import viewer
from xfel_apps.units import brief, duration

HERE = Path(__file__).parent
STATIC = HERE / "static"


def _number(value: float | None, form: str = ",.3g") -> str:
    """Return a number for people; a dash where there is none."""
    return "–" if value is None or value != value else format(value, form)


def _percent(part: float | None, whole: float | None = 1.0) -> str:
    """Return a share in percent; a dash where there is nothing to share."""
    if part is None or not whole:
        return "–"
    value = 100.0 * part / whole
    return f"{value:.0f} %" if value >= 99.95 else f"{value:.1f} %"


def _when(seconds: float | None) -> str:
    """Return a time [s since 1970] as people here say it; the day only where it is another."""
    if not seconds:
        return "–"
    then, now = datetime.fromtimestamp(seconds), datetime.now()
    return f"{then:%H:%M:%S}" if then.date() == now.date() else f"{then:%Y-%m-%d %H:%M}"


def _seconds_ago(seconds: float) -> float:
    """Return how long ago a time [s since 1970] was."""
    return max(0.0, time.time() - seconds)


def _setting(value: object) -> str:
    """Return a setting's value as an experiment file has it."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "percent": _percent, "duration": duration}
    environment.filters |= {"when": _when, "setting": _setting}
    environment.filters["brief"] = brief
    environment.filters["seconds_ago"] = _seconds_ago
    return environment


ENVIRONMENT = _environment()


def render(request: Request, template: str, status_code: int = 200, **context: Any) -> HTMLResponse:
    """Return a page, or a part of one, made from a template.

    Parameters
    ----------
    template : file in `templates`
    context : what the template names; `pages`, `here`, `who` and `wall` are there for all
    """
    from xfel_apps.dashboard.pages import pages

    text = ENVIRONMENT.get_template(template).render(
        pages=pages(),
        here=request.url.path.split("/")[1],
        who=viewer(request),
        wall="wall" in request.query_params,
        version=__version__,
        **context,
    )
    return HTMLResponse(text, status_code)
