"""Test boots: launch settings of servers, tests with their evidence, checkpoints that are kept."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them; of the checkpoints that are there, none was tested."""
    op.create_table(
        "launch_settings",
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("settings", columns.JsonText(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_launch_settings_server_id")),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_launch_settings")),
    )
    op.create_table(
        "test_boot",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("effect", sa.String(length=200), nullable=False),
        sa.Column("checkpoint_id", columns.Id(), nullable=False),
        sa.Column("checkpoint_number", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.String(length=16), nullable=False),
        sa.Column("source_time", columns.UtcDateTime(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("came_from", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=32), nullable=False),
        sa.Column("node", sa.String(length=100), nullable=True),
        sa.Column("machine", columns.JsonText(), nullable=False),
        sa.Column("forwards", columns.JsonText(), nullable=False),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("launched_at", columns.UtcDateTime(), nullable=True),
        sa.Column("checked_at", columns.UtcDateTime(), nullable=True),
        sa.Column("terminated_at", columns.UtcDateTime(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=True),
        sa.Column("proof", columns.JsonText(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_test_boot_job_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_test_boot_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_test_boot")),
        sa.UniqueConstraint("effect", name=op.f("uq_test_boot_effect")),
    )
    with op.batch_alter_table("test_boot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_test_boot_job_id"), ["job_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_test_boot_server_id"), ["server_id"], unique=False)

    op.create_table(
        "test_evidence",
        sa.Column("test_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("content", columns.Blob(), nullable=False),
        sa.ForeignKeyConstraint(["test_id"], ["test_boot.id"], name=op.f("fk_test_evidence_test_id")),
        sa.PrimaryKeyConstraint("test_id", "name", name=op.f("pk_test_evidence")),
    )
    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.add_column(sa.Column("kept", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.drop_column("kept")

    op.drop_table("test_evidence")
    op.drop_table("test_boot")
    op.drop_table("launch_settings")
