"""The schema says which is the oldest program that runs on it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.schema.compat import require_program

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Make the table with its row: programs before this version run on their own schema alone."""
    op.create_table(
        "schema_compat",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("minimum_revision", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_compat")),
        if_not_exists=True,
    )
    require_program("0017")


def downgrade() -> None:
    """Drop it."""
    op.drop_table("schema_compat")
