"""What the rows of each part add up to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

COUNTS = ("pending", "filtered", "miss", "hit_not_indexed", "indexed", "integrated", "failed")
SUMS = ("a_ang", "b_ang", "c_ang", "alpha_deg", "beta_deg", "gamma_deg", "d_min_ang")


def upgrade() -> None:
    """Bring the schema to this revision.

    Parts of before add up to nothing, until the next sync inserts them anew.
    """
    with op.batch_alter_table("parts") as parts:
        text = sa.String(length=128)
        parts.add_column(sa.Column("made_with", text, server_default="", nullable=False))
        for name in (*(f"n_{outcome}" for outcome in COUNTS), "n_lattices"):
            parts.add_column(sa.Column(name, sa.Integer(), server_default="0", nullable=False))
        for name in SUMS:
            kind: sa.Double[float] = sa.Double()
            parts.add_column(sa.Column(f"sum_{name}", kind, server_default="0", nullable=False))
