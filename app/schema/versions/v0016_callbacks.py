"""Subscriptions, and the outbox of events that they are still to be told."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns
from app.schema.repeating import add_index

revision: str = "0016"
down_revision: str | None = "0015"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add them; role api makes the platform's subscription when it starts."""
    op.create_table(
        "subscription",
        sa.Column("id", columns.Id(), nullable=False),
        sa.Column("project_id", columns.Id(), nullable=True),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("kinds", columns.JsonText(), nullable=True),
        sa.Column("secret", sa.String(length=200), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("updated_at", columns.UtcDateTime(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("beat", sa.BigInteger(), nullable=False),
        sa.Column("not_before", columns.UtcDateTime(), nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("dropped", sa.Integer(), nullable=False),
        sa.Column("last_success_at", columns.UtcDateTime(), nullable=True),
        sa.Column("last_failure_at", columns.UtcDateTime(), nullable=True),
        sa.Column("last_failure", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_subscription_project_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_subscription")),
        sa.UniqueConstraint("project_id", "name", name=op.f("uq_subscription_project_id_name")),
        if_not_exists=True,
    )
    add_index("ix_subscription_project_id", "subscription", ["project_id"])

    op.create_table(
        "outbox",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("subscription_id", columns.Id(), nullable=False),
        sa.Column("event_id", columns.Id(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.Column("not_before", columns.UtcDateTime(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_outbox")),
        if_not_exists=True,
    )
    add_index("ix_outbox_subscription_id_number", "outbox", ["subscription_id", "number"])
    add_index("ix_outbox_created_at", "outbox", ["created_at"])


def downgrade() -> None:
    """Drop them: nobody is told what waits."""
    op.drop_table("outbox")
    op.drop_table("subscription")
