"""Settings of the dashboard's server."""

from pathlib import Path

from pydantic import Field

from xfel_apps.config import Section


class DashboardSettings(Section):
    """Where the dashboard listens and what it shows."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8765, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    results: Path = Path("results")
    """Folder of all trials' results."""
    catalog: str = ""
    """URL of the catalog; empty: the file `catalog.db` beside the results."""
    experiment: str = ""
    """Name of the experiment in the catalog; empty: that with these results, or the only one."""
    follow: bool = True
    """Bring what appears in the results into the catalog, by a process beside the server."""
    cores: int = Field(default=2, ge=1)
    """Cores of this machine for each job that is started from a page."""
    profile: str = "local"
    """Snakemake profile of those jobs: a name in `profiles`, or a folder."""
    hosts: tuple[str, ...] = ()
    """More names that browsers may call this machine by."""
    max_body_bytes: int = Field(default=65536, gt=0)
    """Largest request that is taken [bytes]."""
    look_s: float = Field(default=1.0, gt=0)
    """Least time between two looks at what has changed [s]."""
