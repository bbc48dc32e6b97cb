"""Tables of the catalog: experiments, runs, tags, trials, datasets, jobs, events and crystals.

Times are seconds since 1970. Rows that people edit have a `revision` that every edit raises, so
that the later of two editors is told. Rows that programs insert have natural keys, so that
inserting them again does nothing.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import LONGTEXT
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

NAME = 64
"""Most characters of a name."""
PATH = 500
MESSAGE = 240
"""Most characters of an error (see `xfel_apps.containers.product.REASON_BYTES`)."""
DIGEST = 64

LongText = Text().with_variant(LONGTEXT(), "mysql", "mariadb")
Id = BigInteger().with_variant(Integer(), "sqlite")
TABLE = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}
KEYED_TABLE = {**TABLE, "sqlite_with_rowid": False}
"""Of a table whose rows lie in the order of their natural key."""


def _key() -> Any:
    """Return a column that numbers the rows."""
    return mapped_column(Id, primary_key=True, autoincrement=True)


def _to(column: str, **options: Any) -> Any:
    """Return a column that names a row of another table."""
    return mapped_column(Id, ForeignKey(column), **options)


def _sum(kind: type[TypeEngine[Any]]) -> Any:
    """Return a column that begins with 0."""
    return mapped_column(kind, server_default="0")


class Base(DeclarativeBase):
    """Base of all tables; constraints have names, so that migrations can change them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Experiment(Base):
    """An experiment: all that was measured and processed together.

    results: folder that trials lie in.
    """

    __tablename__ = "experiments"
    __table_args__ = (TABLE,)

    id: Mapped[int] = _key()
    name: Mapped[str] = mapped_column(String(NAME), unique=True)
    results: Mapped[str] = mapped_column(String(PATH), default="results")
    created_s: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(Integer, default=1)


class Run(Base):
    """A run; `paths` is a JSON list of its raw files as an experiment file names them."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("experiment_id", "name"), TABLE)

    id: Mapped[int] = _key()
    experiment_id: Mapped[int] = _to("experiments.id")
    name: Mapped[str] = mapped_column(String(NAME))
    paths: Mapped[str] = mapped_column(LongText, default="[]")
    n_events: Mapped[int | None] = mapped_column(Integer)
    state: Mapped[str] = mapped_column(String(16), default="new")
    created_s: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(Integer, default=1)


class Tag(Base):
    """A word that runs are marked with."""

    __tablename__ = "tags"
    __table_args__ = (UniqueConstraint("experiment_id", "name"), TABLE)

    id: Mapped[int] = _key()
    experiment_id: Mapped[int] = _to("experiments.id")
    name: Mapped[str] = mapped_column(String(NAME))
    created_s: Mapped[float] = mapped_column(Double)


class RunTag(Base):
    """A run has a tag."""

    __tablename__ = "run_tags"
    __table_args__ = (Index("ix_run_tags_tag", "tag_id"), TABLE)

    run_id: Mapped[int] = _to("runs.id", primary_key=True)
    tag_id: Mapped[int] = _to("tags.id", primary_key=True)


class RunGroup(Base):
    """Runs from `first_run` to `last_run` (in order of their names) share geometry and calibration.

    settings: JSON, what the group's runs have other than the trial in its `ingest` section.
    """

    __tablename__ = "run_groups"
    __table_args__ = (UniqueConstraint("experiment_id", "name"), TABLE)

    id: Mapped[int] = _key()
    experiment_id: Mapped[int] = _to("experiments.id")
    name: Mapped[str] = mapped_column(String(NAME))
    first_run: Mapped[str] = mapped_column(String(NAME))
    last_run: Mapped[str] = mapped_column(String(NAME))
    settings: Mapped[str] = mapped_column(LongText, default="{}")
    created_s: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(Integer, default=1)


class Trial(Base):
    """A numbered, frozen set of parameters: canonical JSON, and its digest.

    name: of its folder below the results.
    """

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("experiment_id", "name"),
        UniqueConstraint("experiment_id", "number"),
        Index("ix_trials_digest", "experiment_id", "digest"),
        TABLE,
    )

    id: Mapped[int] = _key()
    experiment_id: Mapped[int] = _to("experiments.id")
    number: Mapped[int] = mapped_column(Integer)
    name: Mapped[str] = mapped_column(String(NAME))
    parameters: Mapped[str] = mapped_column(LongText)
    digest: Mapped[str] = mapped_column(String(DIGEST))
    parent_id: Mapped[int | None] = _to("trials.id")
    comment: Mapped[str] = mapped_column(String(MESSAGE), default="")
    created_s: Mapped[float] = mapped_column(Double)
    actor: Mapped[str] = mapped_column(String(NAME), default="")


class Dataset(Base):
    """Runs that are merged together in a trial: chosen by tags (see `DatasetTag`)."""

    __tablename__ = "datasets"
    __table_args__ = (UniqueConstraint("trial_id", "name"), TABLE)

    id: Mapped[int] = _key()
    trial_id: Mapped[int] = _to("trials.id")
    name: Mapped[str] = mapped_column(String(NAME))
    created_s: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(Integer, default=1)


class DatasetTag(Base):
    """A tag of a dataset; rule: a run has `any` of these, `all` of these, `none` of these."""

    __tablename__ = "dataset_tags"
    __table_args__ = (Index("ix_dataset_tags_tag", "tag_id"), TABLE)

    dataset_id: Mapped[int] = _to("datasets.id", primary_key=True)
    tag_id: Mapped[int] = _to("tags.id", primary_key=True)
    rule: Mapped[str] = mapped_column(String(4))


class Version(Base):
    """A version of a dataset; its number is that of its folder and never used again.

    key: digest that its files were made with (see `Experiment.dataset_key`); empty until a merge
    takes it up. state: `due`, `made` or `superseded` (its runs changed before it was made).
    """

    __tablename__ = "versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"), TABLE)

    id: Mapped[int] = _key()
    dataset_id: Mapped[int] = _to("datasets.id")
    number: Mapped[int] = mapped_column(Integer)
    key: Mapped[str] = mapped_column("made_with", String(DIGEST), default="")
    state: Mapped[str] = mapped_column(String(16), default="due")
    n_crystals: Mapped[int | None] = mapped_column(Integer)
    n_observations: Mapped[int | None] = mapped_column(BigInteger)
    d_min_ang: Mapped[float | None] = mapped_column(Double)
    space_group: Mapped[str] = mapped_column(String(16), default="")
    cell: Mapped[str] = mapped_column(String(MESSAGE), default="")
    created_s: Mapped[float] = mapped_column(Double)
    made_s: Mapped[float | None] = mapped_column(Double)


class VersionRun(Base):
    """A run is merged into a version."""

    __tablename__ = "version_runs"
    __table_args__ = (Index("ix_version_runs_run", "run_id"), TABLE)

    version_id: Mapped[int] = _to("versions.id", primary_key=True)
    run_id: Mapped[int] = _to("runs.id", primary_key=True)


class MergeBin(Base):
    """Merge statistics of one resolution bin; shell -1 is all of them together."""

    __tablename__ = "merge_bins"
    __table_args__ = (KEYED_TABLE,)

    version_id: Mapped[int] = _to("versions.id", primary_key=True)
    shell: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    d_max_ang: Mapped[float] = mapped_column(Double)
    d_min_ang: Mapped[float] = mapped_column(Double)
    n_possible: Mapped[int] = mapped_column(Integer)
    n_unique: Mapped[int] = mapped_column(Integer)
    n_observations: Mapped[int] = mapped_column(BigInteger)
    completeness: Mapped[float] = mapped_column(Double)
    multiplicity: Mapped[float] = mapped_column(Double)
    mean_intensity: Mapped[float | None] = mapped_column(Double)
    mean_i_over_sigma: Mapped[float | None] = mapped_column(Double)
    cc_half: Mapped[float | None] = mapped_column(Double)
    cc_star: Mapped[float | None] = mapped_column(Double)
    r_split: Mapped[float | None] = mapped_column(Double)
    cc_anom: Mapped[float | None] = mapped_column(Double)
    chi_square: Mapped[float | None] = mapped_column(Double)
    cc_reference: Mapped[float | None] = mapped_column(Double)


class Task(Base):
    """What is to be done once: a stage on a run, or on a version of a dataset.

    subject: `RUN` or `datasets/NAME/vNNN`.
    """

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("trial_id", "stage", "subject"), TABLE)

    id: Mapped[int] = _key()
    trial_id: Mapped[int] = _to("trials.id")
    stage: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(2 * NAME))
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    created_s: Mapped[float] = mapped_column(Double)
    revision: Mapped[int] = mapped_column(Integer, default=1)


class Job(Base):
    """An attempt at a task: where it runs, with what, and what it says.

    state: `waiting`, `running`, `done`, `failed`, `cancelled`. place: executor's or scheduler's
    number for it. resources: JSON (nodes, ranks, mem_mb, runtime_min, ...).
    """

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("task_id", "attempt"),
        Index("ix_jobs_state", "state"),
        TABLE,
    )

    id: Mapped[int] = _key()
    task_id: Mapped[int] = _to("tasks.id")
    attempt: Mapped[int] = mapped_column(Integer, default=1)
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    place: Mapped[str] = mapped_column(String(NAME), default="")
    host: Mapped[str] = mapped_column(String(NAME), default="")
    resources: Mapped[str] = mapped_column(LongText, default="{}")
    log_path: Mapped[str] = mapped_column(String(PATH), default="")
    message: Mapped[str] = mapped_column(String(MESSAGE), default="")
    submitted_s: Mapped[float] = mapped_column(Double)
    start_s: Mapped[float | None] = mapped_column(Double)
    end_s: Mapped[float | None] = mapped_column(Double)
    exit_code: Mapped[int | None] = mapped_column(Integer)


class Part(Base):
    """A container file whose rows are in the catalog: how many, what they add up to, since when.

    What has been inserted is known from here: a writer says how many rows it found when it adds
    some, and adds none if another writer was faster. made_with: tells a file from one of the same
    name that was there before it. Sums over parts are sums over events and lattices, without
    reading those: n_pending ... n_failed count a stage's events by outcome; sum_a_ang ... add up
    the lattices that it was first to find.

    A manifest is a part too: its rows are the events that only the whole run could decide on.
    """

    __tablename__ = "parts"
    __table_args__ = (UniqueConstraint("trial_id", "run_id", "stage", "name"), TABLE)

    id: Mapped[int] = _key()
    trial_id: Mapped[int] = _to("trials.id")
    run_id: Mapped[int] = _to("runs.id")
    stage: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(2 * NAME))
    n_rows: Mapped[int] = mapped_column(Integer, default=0)
    written_s: Mapped[float] = mapped_column(Double)
    made_with: Mapped[str] = mapped_column(String(2 * DIGEST), server_default="")
    n_pending: Mapped[int] = _sum(Integer)
    n_filtered: Mapped[int] = _sum(Integer)
    n_miss: Mapped[int] = _sum(Integer)
    n_hit_not_indexed: Mapped[int] = _sum(Integer)
    n_indexed: Mapped[int] = _sum(Integer)
    n_integrated: Mapped[int] = _sum(Integer)
    n_failed: Mapped[int] = _sum(Integer)
    n_lattices: Mapped[int] = _sum(Integer)
    sum_a_ang: Mapped[float] = _sum(Double)
    sum_b_ang: Mapped[float] = _sum(Double)
    sum_c_ang: Mapped[float] = _sum(Double)
    sum_alpha_deg: Mapped[float] = _sum(Double)
    sum_beta_deg: Mapped[float] = _sum(Double)
    sum_gamma_deg: Mapped[float] = _sum(Double)
    sum_d_min_ang: Mapped[float] = _sum(Double)


class Event(Base):
    """How a stage ended an event of a run, when and where.

    outcome: code (see `xfel_apps.containers.outcome`); error: why, empty where the outcome says it
    all; seconds: of processor time. No foreign keys: millions of rows are inserted.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_outcome", "trial_id", "run_id", "stage", "outcome"),
        KEYED_TABLE,
    )

    trial_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    run_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    stage: Mapped[str] = mapped_column(String(16), primary_key=True)
    event: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    outcome: Mapped[int] = mapped_column(SmallInteger)
    error: Mapped[str] = mapped_column(String(MESSAGE), default="")
    start_s: Mapped[float] = mapped_column(Double)
    end_s: Mapped[float] = mapped_column(Double)
    seconds: Mapped[float] = mapped_column(Double)
    host: Mapped[str] = mapped_column(String(NAME), default="")
    rank: Mapped[int] = mapped_column("mpi_rank", Integer)


class Crystal(Base):
    """A lattice of an event: cell [Angstrom, degree], A matrix [1/Angstrom] by rows."""

    __tablename__ = "crystals"
    __table_args__ = (KEYED_TABLE,)

    trial_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    run_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    event: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    lattice: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    space_group: Mapped[str] = mapped_column(String(16), default="")
    a_ang: Mapped[float] = mapped_column(Double)
    b_ang: Mapped[float] = mapped_column(Double)
    c_ang: Mapped[float] = mapped_column(Double)
    alpha_deg: Mapped[float] = mapped_column(Double)
    beta_deg: Mapped[float] = mapped_column(Double)
    gamma_deg: Mapped[float] = mapped_column(Double)
    a11_invang: Mapped[float] = mapped_column(Double)
    a12_invang: Mapped[float] = mapped_column(Double)
    a13_invang: Mapped[float] = mapped_column(Double)
    a21_invang: Mapped[float] = mapped_column(Double)
    a22_invang: Mapped[float] = mapped_column(Double)
    a23_invang: Mapped[float] = mapped_column(Double)
    a31_invang: Mapped[float] = mapped_column(Double)
    a32_invang: Mapped[float] = mapped_column(Double)
    a33_invang: Mapped[float] = mapped_column(Double)
    d_min_ang: Mapped[float] = mapped_column(Double)
    n_indexed: Mapped[int] = mapped_column(Integer)
    rmsd_px: Mapped[float] = mapped_column(Double)


class Audit(Base):
    """Who changed what, when, from what to what (JSON)."""

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "kind", "subject"), TABLE)

    id: Mapped[int] = _key()
    experiment_id: Mapped[int | None] = _to("experiments.id")
    at_s: Mapped[float] = mapped_column(Double)
    actor: Mapped[str] = mapped_column(String(NAME))
    action: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(2 * NAME))
    before: Mapped[str] = mapped_column("was", LongText, default="")
    after: Mapped[str] = mapped_column("became", LongText, default="")
