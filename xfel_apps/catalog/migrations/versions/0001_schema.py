"""Runs, tags, trials, datasets, jobs, events and crystals."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
TABLE: dict[str, Any] = {
    f"{backend}_{option}": value
    for backend in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
KEYED_TABLE: dict[str, Any] = {**TABLE, "sqlite_with_rowid": False}

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "crystals",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("run_id", ID, autoincrement=False, nullable=False),
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("lattice", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("space_group", sa.String(length=16), nullable=False),
        sa.Column("a_ang", sa.Double(), nullable=False),
        sa.Column("b_ang", sa.Double(), nullable=False),
        sa.Column("c_ang", sa.Double(), nullable=False),
        sa.Column("alpha_deg", sa.Double(), nullable=False),
        sa.Column("beta_deg", sa.Double(), nullable=False),
        sa.Column("gamma_deg", sa.Double(), nullable=False),
        sa.Column("a11_invang", sa.Double(), nullable=False),
        sa.Column("a12_invang", sa.Double(), nullable=False),
        sa.Column("a13_invang", sa.Double(), nullable=False),
        sa.Column("a21_invang", sa.Double(), nullable=False),
        sa.Column("a22_invang", sa.Double(), nullable=False),
        sa.Column("a23_invang", sa.Double(), nullable=False),
        sa.Column("a31_invang", sa.Double(), nullable=False),
        sa.Column("a32_invang", sa.Double(), nullable=False),
        sa.Column("a33_invang", sa.Double(), nullable=False),
        sa.Column("d_min_ang", sa.Double(), nullable=False),
        sa.Column("n_indexed", sa.Integer(), nullable=False),
        sa.Column("rmsd_px", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "run_id", "event", "lattice", name="pk_crystals"),
        **KEYED_TABLE,
    )
    op.create_table(
        "events",
        sa.Column("trial_id", ID, autoincrement=False, nullable=False),
        sa.Column("run_id", ID, autoincrement=False, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("event", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("outcome", sa.SmallInteger(), nullable=False),
        sa.Column("error", sa.String(length=240), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=False),
        sa.Column("end_s", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("mpi_rank", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("trial_id", "run_id", "stage", "event", name="pk_events"),
        **KEYED_TABLE,
    )
    op.create_index("ix_events_outcome", "events", ["trial_id", "run_id", "stage", "outcome"])

    op.create_table(
        "experiments",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("results", sa.String(length=500), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
        **TABLE,
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", ID, nullable=True),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("was", TEXT, nullable=False),
        sa.Column("became", TEXT, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_audit_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
        **TABLE,
    )
    op.create_index("ix_audit_subject", "audit", ["kind", "subject"])

    op.create_table(
        "run_groups",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("first_run", sa.String(length=64), nullable=False),
        sa.Column("last_run", sa.String(length=64), nullable=False),
        sa.Column("settings", TEXT, nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_run_groups_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_run_groups"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_run_groups_experiment_id_name"),
        **TABLE,
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("paths", TEXT, nullable=False),
        sa.Column("n_events", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_runs_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_runs"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_runs_experiment_id_name"),
        **TABLE,
    )
    op.create_table(
        "tags",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_tags_experiment_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_tags"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_tags_experiment_id_name"),
        **TABLE,
    )
    op.create_table(
        "trials",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("experiment_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("parameters", TEXT, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("comment", sa.String(length=240), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name="fk_trials_experiment_id"
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["trials.id"], name="fk_trials_parent_id"),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_trials_experiment_id_name"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_trials_experiment_id_number"),
        **TABLE,
    )
    op.create_index("ix_trials_digest", "trials", ["experiment_id", "digest"])

    op.create_table(
        "datasets",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("trial_id", ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_datasets_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("trial_id", "name", name="uq_datasets_trial_id_name"),
        **TABLE,
    )
    op.create_table(
        "parts",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("trial_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("written_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_parts_run_id"),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_parts_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_parts"),
        sa.UniqueConstraint(
            "trial_id", "run_id", "stage", "name", name="uq_parts_trial_id_run_id_stage_name"
        ),
        **TABLE,
    )
    op.create_table(
        "run_tags",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("tag_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_run_tags_run_id"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name="fk_run_tags_tag_id"),
        sa.PrimaryKeyConstraint("run_id", "tag_id", name="pk_run_tags"),
        **TABLE,
    )
    op.create_index("ix_run_tags_tag", "run_tags", ["tag_id"])

    op.create_table(
        "tasks",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("trial_id", ID, nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["trial_id"], ["trials.id"], name="fk_tasks_trial_id"),
        sa.PrimaryKeyConstraint("id", name="pk_tasks"),
        sa.UniqueConstraint("trial_id", "stage", "subject", name="uq_tasks_trial_id_stage_subject"),
        **TABLE,
    )
    op.create_table(
        "dataset_tags",
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("tag_id", ID, nullable=False),
        sa.Column("rule", sa.String(length=4), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_dataset_tags_dataset_id"),
        sa.ForeignKeyConstraint(["tag_id"], ["tags.id"], name="fk_dataset_tags_tag_id"),
        sa.PrimaryKeyConstraint("dataset_id", "tag_id", name="pk_dataset_tags"),
        **TABLE,
    )
    op.create_index("ix_dataset_tags_tag", "dataset_tags", ["tag_id"])

    op.create_table(
        "jobs",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("task_id", ID, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("place", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=64), nullable=False),
        sa.Column("resources", TEXT, nullable=False),
        sa.Column("log_path", sa.String(length=500), nullable=False),
        sa.Column("message", sa.String(length=240), nullable=False),
        sa.Column("submitted_s", sa.Double(), nullable=False),
        sa.Column("start_s", sa.Double(), nullable=True),
        sa.Column("end_s", sa.Double(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name="fk_jobs_task_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        sa.UniqueConstraint("task_id", "attempt", name="uq_jobs_task_id_attempt"),
        **TABLE,
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])

    op.create_table(
        "versions",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("dataset_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("made_with", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("n_crystals", sa.Integer(), nullable=True),
        sa.Column("n_observations", sa.BigInteger(), nullable=True),
        sa.Column("d_min_ang", sa.Double(), nullable=True),
        sa.Column("space_group", sa.String(length=16), nullable=False),
        sa.Column("cell", sa.String(length=240), nullable=False),
        sa.Column("created_s", sa.Double(), nullable=False),
        sa.Column("made_s", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name="fk_versions_dataset_id"),
        sa.PrimaryKeyConstraint("id", name="pk_versions"),
        sa.UniqueConstraint("dataset_id", "number", name="uq_versions_dataset_id_number"),
        **TABLE,
    )
    op.create_table(
        "merge_bins",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("shell", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("d_max_ang", sa.Double(), nullable=False),
        sa.Column("d_min_ang", sa.Double(), nullable=False),
        sa.Column("n_possible", sa.Integer(), nullable=False),
        sa.Column("n_unique", sa.Integer(), nullable=False),
        sa.Column("n_observations", sa.BigInteger(), nullable=False),
        sa.Column("completeness", sa.Double(), nullable=False),
        sa.Column("multiplicity", sa.Double(), nullable=False),
        sa.Column("mean_intensity", sa.Double(), nullable=True),
        sa.Column("mean_i_over_sigma", sa.Double(), nullable=True),
        sa.Column("cc_half", sa.Double(), nullable=True),
        sa.Column("cc_star", sa.Double(), nullable=True),
        sa.Column("r_split", sa.Double(), nullable=True),
        sa.Column("cc_anom", sa.Double(), nullable=True),
        sa.Column("chi_square", sa.Double(), nullable=True),
        sa.Column("cc_reference", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_merge_bins_version_id"),
        sa.PrimaryKeyConstraint("version_id", "shell", name="pk_merge_bins"),
        **KEYED_TABLE,
    )
    op.create_table(
        "version_runs",
        sa.Column("version_id", ID, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name="fk_version_runs_run_id"),
        sa.ForeignKeyConstraint(["version_id"], ["versions.id"], name="fk_version_runs_version_id"),
        sa.PrimaryKeyConstraint("version_id", "run_id", name="pk_version_runs"),
        **TABLE,
    )
    op.create_index("ix_version_runs_run", "version_runs", ["run_id"])
