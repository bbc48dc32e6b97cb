"""What queries return: small records that nothing can change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xfel_apps.containers.outcome import Outcome

HITS = (Outcome.HIT_NOT_INDEXED, Outcome.INDEXED, Outcome.INTEGRATED)
Cell = tuple[float, float, float, float, float, float]
"""a, b, c [Angstrom], alpha, beta, gamma [degree]."""


@dataclass(frozen=True)
class ExperimentInfo:
    """An experiment: its name, folder of results, runs and trials."""

    id: int
    name: str
    results: str
    n_runs: int
    n_trials: int


@dataclass(frozen=True)
class RunInfo:
    """A run as it stands in a trial.

    Attributes
    ----------
    paths : raw files as an experiment file names them
    tags : in order
    state : `new`, `growing`, `complete`, `sealed`, ...
    group : name of the run group that it is in; empty if in none
    revision : what an edit of its tags must name
    outcomes : outcome -> events of the trial that have come so far, not those of value 0
    n_lattices : of the trial
    """

    id: int
    name: str
    paths: tuple[str, ...]
    n_events: int | None
    state: str
    created_s: float
    revision: int
    tags: tuple[str, ...] = ()
    group: str = ""
    outcomes: Mapping[str, int] = field(default_factory=dict)
    n_lattices: int = 0

    @property
    def n_seen(self) -> int:
        """Events that have come so far and were not filtered out."""
        return sum(self.outcomes.values()) - self.outcomes.get(Outcome.FILTERED, 0)

    @property
    def n_hits(self) -> int:
        """Hits among them."""
        return sum(self.outcomes.get(outcome, 0) for outcome in HITS)

    @property
    def hit_rate(self) -> float | None:
        """Hits of the events that a stage has looked at, 0 to 1."""
        looked_at = self.n_seen - self.outcomes.get(Outcome.PENDING, 0)
        return _share(self.n_hits, looked_at)

    @property
    def indexed_rate(self) -> float | None:
        """Indexed events of the hits, 0 to 1."""
        n_indexed = self.outcomes.get(Outcome.INDEXED, 0) + self.n_integrated
        return _share(n_indexed, self.n_hits)

    @property
    def integrated_rate(self) -> float | None:
        """Integrated events of the hits, 0 to 1."""
        return _share(self.n_integrated, self.n_hits)

    @property
    def n_integrated(self) -> int:
        """Integrated events."""
        return self.outcomes.get(Outcome.INTEGRATED, 0)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


@dataclass(frozen=True)
class LatticeInfo:
    """The lattices of a run in a trial: how many, mean cell and resolution."""

    run: str
    n_lattices: int
    cell: Cell
    d_min_ang: float


@dataclass(frozen=True)
class GroupInfo:
    """Runs from the first to the last share what `settings` (of section ingest) says."""

    id: int
    name: str
    first_run: str
    last_run: str
    settings: Mapping[str, Any]
    revision: int


@dataclass(frozen=True)
class TrialInfo:
    """A trial; parameters: section -> settings; parent: name of the trial it was made from."""

    id: int
    number: int
    name: str
    digest: str
    parent: str
    comment: str
    actor: str
    created_s: float
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """A setting that two trials have differently; None where one has no such setting."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset of a trial.

    Attributes
    ----------
    any, all, none : its tags (see `xfel_apps.catalog.selection`)
    runs : that fit now
    version : number of the newest version; 0 before the first
    made : number of the newest version that is made; 0 if none is
    is_due : the runs that fit now are in no version that is made
    """

    id: int
    trial: str
    name: str
    revision: int
    created_s: float
    any: tuple[str, ...]
    all: tuple[str, ...]
    none: tuple[str, ...]
    runs: tuple[str, ...]
    version: int
    made: int
    is_due: bool


@dataclass(frozen=True)
class VersionInfo:
    """A version of a dataset; folder name such as `v003`. See `xfel_apps.catalog.models.Version`.

    overall: merge statistics of all its reflections together; None until they are known.
    """

    id: int
    number: int
    name: str
    state: str
    key: str
    runs: tuple[str, ...]
    created_s: float
    made_s: float | None
    n_crystals: int | None
    n_observations: int | None
    d_min_ang: float | None
    space_group: str
    cell: Cell | None
    overall: "BinInfo | None" = None


@dataclass(frozen=True)
class BinInfo:
    """Merge statistics of a resolution bin (shell -1: of all); fractions are 0 to 1."""

    shell: int
    d_max_ang: float
    d_min_ang: float
    n_possible: int
    n_unique: int
    n_observations: int
    completeness: float
    multiplicity: float
    mean_intensity: float | None
    mean_i_over_sigma: float | None
    cc_half: float | None
    cc_star: float | None
    r_split: float | None
    cc_anom: float | None
    chi_square: float | None
    cc_reference: float | None


@dataclass(frozen=True)
class JobInfo:
    """An attempt at a task (see `xfel_apps.catalog.models.Job`)."""

    id: int
    trial: str
    stage: str
    subject: str
    attempt: int
    state: str
    place: str
    host: str
    resources: Mapping[str, Any]
    log_path: str
    message: str
    submitted_s: float
    start_s: float | None
    end_s: float | None
    exit_code: int | None


@dataclass(frozen=True)
class EventInfo:
    """How a stage ended an event, when and where; cpu seconds in `seconds`."""

    run: str
    stage: str
    event: int
    outcome: str
    error: str
    start_s: float
    end_s: float
    seconds: float
    host: str
    rank: int


@dataclass(frozen=True)
class CrystalInfo:
    """A lattice of an event; a_matrix: rows of A [1/Angstrom]."""

    run: str
    event: int
    lattice: int
    space_group: str
    cell: Cell
    a_matrix: tuple[float, ...]
    d_min_ang: float
    n_indexed: int
    rmsd_px: float


@dataclass(frozen=True)
class AuditInfo:
    """Who changed what, when; before and after: JSON values."""

    id: int
    at_s: float
    actor: str
    action: str
    kind: str
    subject: str
    before: Any
    after: Any
