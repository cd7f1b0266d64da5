"""Holds: what cutovers want of sources' services, and what became of them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them."""
    op.create_table(
        "source_hold",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("cutover_id", columns.Id(), nullable=False),
        sa.Column("standing_for", columns.Id(), nullable=True),
        sa.Column("wanted", sa.String(length=16), nullable=False),
        sa.Column("reached", sa.String(length=16), nullable=True),
        sa.Column("services", sa.String(length=16), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=True),
        sa.Column("seconds", sa.Integer(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("reported_revision", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("checkpoint_id", columns.Id(), nullable=True),
        sa.Column("frozen_ms", sa.Integer(), nullable=True),
        sa.Column("proof", sa.String(length=64), nullable=False),
        sa.Column("hooks", columns.JsonText(), nullable=False),
        sa.Column("requested_at", columns.UtcDateTime(), nullable=False),
        sa.Column("wanted_at", columns.UtcDateTime(), nullable=False),
        sa.Column("reported_at", columns.UtcDateTime(), nullable=True),
        sa.Column("quiesced_at", columns.UtcDateTime(), nullable=True),
        sa.Column("final_at", columns.UtcDateTime(), nullable=True),
        sa.Column("held_at", columns.UtcDateTime(), nullable=True),
        sa.Column("released_at", columns.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_source_hold_server_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_hold")),
        sa.UniqueConstraint("server_id", "cutover_id", name=op.f("uq_source_hold_server_id_cutover_id")),
        sa.UniqueConstraint("standing_for", name=op.f("uq_source_hold_standing_for")),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("source_hold")
