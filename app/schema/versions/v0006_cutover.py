"""Cutovers with their evidence."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "cutover",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("effect", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("node", sa.String(length=100), nullable=True),
        sa.Column("verification_id", columns.Id(), nullable=True),
        sa.Column("base_checkpoint_id", columns.Id(), nullable=True),
        sa.Column("checkpoint_id", columns.Id(), nullable=True),
        sa.Column("checkpoint_number", sa.BigInteger(), nullable=True),
        sa.Column("machine", columns.JsonText(), nullable=False),
        sa.Column("forwards", columns.JsonText(), nullable=False),
        sa.Column("allow_active_source", sa.Boolean(), nullable=False),
        sa.Column("source_active", sa.Boolean(), nullable=True),
        sa.Column("override", sa.String(length=1000), nullable=True),
        sa.Column("passed_over", columns.JsonText(), nullable=False),
        sa.Column("phases", columns.JsonText(), nullable=False),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("launched_at", columns.UtcDateTime(), nullable=True),
        sa.Column("checked_at", columns.UtcDateTime(), nullable=True),
        sa.Column("ended_at", columns.UtcDateTime(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("proof", columns.JsonText(), nullable=True),
        sa.Column("ledger", columns.JsonText(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_cutover_job_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_cutover_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cutover")),
        sa.UniqueConstraint("effect", name=op.f("uq_cutover_effect")),
    )
    with op.batch_alter_table("cutover", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cutover_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_cutover_server_id"), ["server_id"], unique=False)

    op.create_table(
        "cutover_evidence",
        sa.Column("cutover_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("content", columns.Blob(), nullable=False),
        sa.ForeignKeyConstraint(["cutover_id"], ["cutover.id"], name=op.f("fk_cutover_evidence_cutover_id")),
        sa.PrimaryKeyConstraint("cutover_id", "name", name=op.f("pk_cutover_evidence")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("cutover_evidence")
    op.drop_table("cutover")
