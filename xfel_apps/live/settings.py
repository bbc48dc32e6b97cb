"""Settings of live processing; they change no result."""

from pydantic import Field

from xfel_apps.config import Section


class LiveSettings(Section):
    """What is watched, how it is cut, and when it is merged."""

    watch: str = ""
    """Raw files as they appear: a path with `{run}` where the run's name stands and wildcards
    elsewhere, such as `/data/{run}.h5` or `/data/{run}/*.cbf`."""
    exclude: list[str] = Field(default_factory=list)
    """Runs that are left alone: names or patterns (`r00*`)."""
    datasets: dict[str, list[str]] = Field(default_factory=lambda: {"all": ["*"]})
    """Dataset name -> runs that are merged together: names or patterns."""
    quiet_s: float = Field(default=30.0, gt=0)
    """A run that has not grown for so long is complete [s]."""
    chunk_shots: int = Field(default=200, gt=0)
    """Shots of a chunk: what a crew takes at a time."""
    chunk_wait_s: float = Field(default=2.0, ge=0)
    """New shots wait at most so long for a chunk to fill [s]."""
    merge_lattices: int = Field(default=500, gt=0)
    """New lattices that give a dataset a new version; a run that comes or goes does so too."""
    merge_wait_s: float = Field(default=30.0, ge=0)
    """Least time between two versions of a dataset [s]."""
    idle_s: float = Field(default=300.0, gt=0)
    """A crew that has had no work for so long ends, and its block after it [s]."""
