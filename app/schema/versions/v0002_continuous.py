"""Orders to agents, their status, pace of projects, verifications, scrub rounds and preflights."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them; servers that are there already run without a limit."""
    op.create_table(
        "preflight",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("requested_at", columns.UtcDateTime(), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=True),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.Column("report", columns.JsonText(), nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_preflight_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_preflight")),
    )
    with op.batch_alter_table("preflight", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_preflight_server_id"), ["server_id"], unique=False)

    op.create_table(
        "verification",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("standing_for", columns.Id(), nullable=True),
        sa.Column("checkpoint_id", columns.Id(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.Column("requested_at", columns.UtcDateTime(), nullable=False),
        sa.Column("started_at", columns.UtcDateTime(), nullable=True),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.Column("done_bytes", sa.BigInteger(), nullable=False),
        sa.Column("total_bytes", sa.BigInteger(), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("result", columns.JsonText(), nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_verification_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_verification")),
        sa.UniqueConstraint("standing_for", name=op.f("uq_verification_standing_for")),
    )
    with op.batch_alter_table("verification", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_verification_server_id"), ["server_id"], unique=False)

    op.create_table(
        "scrub_round",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("is_standing", sa.Boolean(), nullable=True),
        sa.Column("cursor", columns.Hash32(), nullable=False),
        sa.Column("holder", sa.String(length=32), nullable=False),
        sa.Column("lease_until", columns.UtcDateTime(), nullable=True),
        sa.Column("started_at", columns.UtcDateTime(), nullable=False),
        sa.Column("finished_at", columns.UtcDateTime(), nullable=True),
        sa.Column("packs", sa.BigInteger(), nullable=False),
        sa.Column("bytes_read", sa.BigInteger(), nullable=False),
        sa.Column("chunks_damaged", sa.BigInteger(), nullable=False),
        sa.Column("finding_count", sa.Integer(), nullable=False),
        sa.Column("findings", columns.JsonText(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scrub_round")),
        sa.UniqueConstraint("is_standing", name=op.f("uq_scrub_round_is_standing")),
    )

    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.add_column(sa.Column("freeze_ms", sa.Integer(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("rounds", sa.Integer(), nullable=False, server_default="0"))

    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.add_column(sa.Column("pace", columns.JsonText(), nullable=True))

    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.add_column(sa.Column("goal", sa.String(length=16), nullable=False, server_default="RUN"))
        batch_op.add_column(sa.Column("checkpoint_interval_seconds", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("rescan_request", columns.Id(), nullable=True))
        batch_op.add_column(sa.Column("wire_rate", sa.BigInteger(), nullable=True))
        batch_op.add_column(sa.Column("status", columns.JsonText(), nullable=True))
        batch_op.add_column(sa.Column("status_at", columns.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("clock_skew_ms", sa.BigInteger(), nullable=False, server_default="0"))
        batch_op.add_column(sa.Column("replication_since", columns.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("moved_at", columns.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("diverging_since", columns.UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Drop them."""
    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.drop_column("diverging_since")
        batch_op.drop_column("moved_at")
        batch_op.drop_column("replication_since")
        batch_op.drop_column("clock_skew_ms")
        batch_op.drop_column("status_at")
        batch_op.drop_column("status")
        batch_op.drop_column("wire_rate")
        batch_op.drop_column("rescan_request")
        batch_op.drop_column("checkpoint_interval_seconds")
        batch_op.drop_column("goal")

    with op.batch_alter_table("project", schema=None) as batch_op:
        batch_op.drop_column("pace")

    with op.batch_alter_table("checkpoint", schema=None) as batch_op:
        batch_op.drop_column("rounds")
        batch_op.drop_column("freeze_ms")

    op.drop_table("scrub_round")
    op.drop_table("verification")
    op.drop_table("preflight")
