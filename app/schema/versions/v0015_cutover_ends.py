"""Ends of cutovers: a source that is gone for good; and the checkpoints that jobs are publishing."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns
from app.schema.repeating import add_column, add_index

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add the column and the table; no source counts as gone, and no checkpoint is being published."""
    op.create_table(
        "publishing",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("checkpoint_id", columns.Id(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_publishing_job_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_publishing")),
        if_not_exists=True,
    )
    add_index("ix_publishing_checkpoint_id", "publishing", ["checkpoint_id"])
    add_column("cutover", sa.Column("source_gone", sa.String(length=1000), nullable=True))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("cutover", schema=None) as batch_op:
        batch_op.drop_column("source_gone")
    op.drop_table("publishing")
