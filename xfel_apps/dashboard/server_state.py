"""What the server that got a request has: its results, its cache, what has changed."""

from pathlib import Path

from fastapi import Request

from xfel_apps.dashboard.cache import Cache
from xfel_apps.dashboard.changes import Changes
from xfel_apps.dashboard.settings import DashboardSettings


def results_of(request: Request) -> Path:
    """Return the folder of all trials' results."""
    settings: DashboardSettings = request.app.state.settings
    return settings.results


def cache_of(request: Request) -> Cache:
    """Return the answers that are kept."""
    cache: Cache = request.app.state.cache
    return cache


def changes_of(request: Request) -> Changes:
    """Return what has changed, by topic."""
    changes: Changes = request.app.state.changes
    return changes
