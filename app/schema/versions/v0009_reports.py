"""Reports: the installation's own signing key. Tests: machines that expire, or end by themselves."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add table and columns; the key is made when the first report is, and no test has ended by itself."""
    op.create_table(
        "report_key",
        sa.Column("name", columns.Id(), nullable=False),
        sa.Column("private", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_report_key")),
    )
    with op.batch_alter_table("test_boot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("warned_at", columns.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("ended_at", columns.UtcDateTime(), nullable=True))
        batch_op.add_column(sa.Column("ended_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    """Drop them, and the key with them: reports that it signed are still good."""
    with op.batch_alter_table("test_boot", schema=None) as batch_op:
        batch_op.drop_column("ended_reason")
        batch_op.drop_column("ended_at")
        batch_op.drop_column("warned_at")

    op.drop_table("report_key")
