"""Waves: applications with their servers and order, waves, runs, and jobs that wait for a child more."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them; a job that is parked waits for all its children, as before."""
    op.create_table(
        "wave",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("planned_at", columns.UtcDateTime(), nullable=True),
        sa.Column("servers_at_once", sa.Integer(), nullable=False),
        sa.Column("stop_after_failures", sa.Integer(), nullable=True),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_wave_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_wave")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_wave_project_id_name")),
    )
    with op.batch_alter_table("wave", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_wave_project_id"), ["project_id"], unique=False)

    op.create_table(
        "wave_run",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("wave_id", columns.Id(), nullable=True),
        sa.Column("application_id", columns.Id(), nullable=True),
        sa.Column("of_wave", sa.Boolean(), nullable=False),
        sa.Column("operation", sa.String(length=32), nullable=False),
        sa.Column("at_once", sa.Integer(), nullable=False),
        sa.Column("stop_after", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("is_over", sa.Boolean(), nullable=False),
        sa.Column("abort", sa.String(length=16), nullable=True),
        sa.Column("aborted_by", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_wave_run_job_id")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_wave_run")),
    )
    with op.batch_alter_table("wave_run", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_wave_run_application_id"), ["application_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_wave_run_wave_id"), ["wave_id"], unique=False)

    op.create_table(
        "application",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=False),
        sa.Column("wave_id", columns.Id(), nullable=True),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_application_project_id")),
        sa.ForeignKeyConstraint(["wave_id"], ["wave.id"], name=op.f("fk_application_wave_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_application")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_application_project_id_name")),
    )
    with op.batch_alter_table("application", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_application_project_id"), ["project_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_application_wave_id"), ["wave_id"], unique=False)

    op.create_table(
        "wave_run_server",
        sa.Column("job_id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("server_name", sa.String(length=253), nullable=False),
        sa.Column("application_id", columns.Id(), nullable=False),
        sa.Column("application_name", sa.String(length=63), nullable=False),
        sa.Column("priority_group", sa.Integer(), nullable=False),
        sa.Column("after", columns.JsonText(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("resumed", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("remedy", sa.Text(), nullable=True),
        sa.Column("told", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["wave_run.job_id"], name=op.f("fk_wave_run_server_job_id")),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_wave_run_server_server_id")),
        sa.PrimaryKeyConstraint("job_id", "server_id", name=op.f("pk_wave_run_server")),
    )
    op.create_table(
        "application_order",
        sa.Column("application_id", columns.Id(), nullable=False),
        sa.Column("after_id", columns.Id(), nullable=False),
        sa.ForeignKeyConstraint(["after_id"], ["application.id"], name=op.f("fk_application_order_after_id")),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_application_order_application_id")
        ),
        sa.PrimaryKeyConstraint("application_id", "after_id", name=op.f("pk_application_order")),
    )
    with op.batch_alter_table("application_order", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_application_order_after_id"), ["after_id"], unique=False)

    op.create_table(
        "application_server",
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("application_id", columns.Id(), nullable=False),
        sa.Column("priority_group", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["application_id"], ["application.id"], name=op.f("fk_application_server_application_id")
        ),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_application_server_server_id")),
        sa.PrimaryKeyConstraint("server_id", name=op.f("pk_application_server")),
    )
    with op.batch_alter_table("application_server", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_application_server_application_id"), ["application_id"], unique=False
        )

    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.add_column(sa.Column("may_stand", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("job", schema=None) as batch_op:
        batch_op.drop_column("may_stand")

    op.drop_table("application_server")
    op.drop_table("application_order")
    op.drop_table("wave_run_server")
    op.drop_table("application")
    op.drop_table("wave_run")
    op.drop_table("wave")
