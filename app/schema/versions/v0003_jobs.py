"""Jobs: the queue, the journal of their steps, their events, limits and slots."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "job",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=True),
        sa.Column("parent_id", columns.Id(), nullable=True),
        sa.Column("origin", sa.String(length=200), nullable=True),
        sa.Column("subject", sa.String(length=100), nullable=True),
        sa.Column("standing_for", sa.String(length=100), nullable=True),
        sa.Column("requested_by", sa.String(length=200), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("input", columns.JsonText(), nullable=True),
        sa.Column("result", columns.JsonText(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("unwinding", sa.String(length=16), nullable=True),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("place", sa.String(length=16), nullable=False),
        sa.Column("node", sa.String(length=100), nullable=True),
        sa.Column("not_before", columns.UtcDateTime(), nullable=True),
        sa.Column("is_parked", sa.Boolean(), nullable=False),
        sa.Column("has_slots", sa.Boolean(), nullable=False),
        sa.Column("is_final", sa.Boolean(), nullable=False),
        sa.Column("cancel_asked_at", columns.UtcDateTime(), nullable=True),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("progress_text", sa.String(length=200), nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=True),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["parent_id"], ["job.id"], name=op.f("fk_job_parent_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("origin", name=op.f("uq_job_origin")),
        sa.UniqueConstraint("standing_for", name=op.f("uq_job_standing_for")),
    )
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.create_index("ix_job_parent_id_state", ["parent_id", "state"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_server_id"), ["server_id"], unique=False)
        batch_op.create_index("ix_job_state_place_priority", ["state", "place", "priority"], unique=False)
        batch_op.create_index(batch_op.f("ix_job_subject"), ["subject"], unique=False)

    op.create_table(
        "job_event",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", columns.UtcDateTime(), nullable=False),
        sa.Column("level", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=100), nullable=True),
        sa.Column("server_id", columns.Id(), nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_event_job_id")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_event")),
    )
    op.create_table(
        "job_limit",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("most", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_limit_job_id")),
        sa.PrimaryKeyConstraint("job_id", "key", name=op.f("pk_job_limit")),
    )
    op.create_table(
        "job_slot",
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_slot_job_id")),
        sa.PrimaryKeyConstraint("key", "number", name=op.f("pk_job_slot")),
    )
    with op.batch_alter_table("job_slot", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_job_slot_job_id"), ["job_id"], unique=False)

    op.create_table(
        "job_step",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("place", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("result", columns.JsonText(), nullable=True),
        sa.Column("code", sa.String(length=100), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("started_at", columns.UtcDateTime(), nullable=True),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.Column("undone_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_step_job_id")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_job_step")),
    )


def downgrade() -> None:
    """Drop them; what jobs have done stays done."""
    op.drop_table("job_step")
    op.drop_table("job_slot")
    op.drop_table("job_limit")
    op.drop_table("job_event")
    op.drop_table("job")
