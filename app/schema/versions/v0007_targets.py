"""Targets, and which of them follow servers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them; only the built-in target is there."""
    op.create_table(
        "target",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("settings", columns.JsonText(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_target_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_target")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_target_project_id_name")),
    )
    with op.batch_alter_table("target", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_target_project_id"), ["project_id"], unique=False)

    op.create_table(
        "target_follow",
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("target_id", columns.Id(), nullable=False),
        sa.Column("checkpoint_id", columns.Id(), nullable=True),
        sa.Column("checkpoint_number", sa.BigInteger(), nullable=True),
        sa.Column("ordered_id", columns.Id(), nullable=True),
        sa.Column("job_id", columns.Id(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("advanced_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_target_follow_server_id")),
        sa.ForeignKeyConstraint(["target_id"], ["target.id"], name=op.f("fk_target_follow_target_id")),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_target_follow")),
    )
    with op.batch_alter_table("target_follow", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_target_follow_target_id"), ["target_id"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_table("target_follow")
    op.drop_table("target")
