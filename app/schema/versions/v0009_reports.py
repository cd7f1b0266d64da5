"""Reports: the installation's own signing key."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0009"
down_revision: str | None = "0006"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add its table; the key is made when the first report is."""
    op.create_table(
        "report_key",
        sa.Column("name", columns.Id(), nullable=False),
        sa.Column("private", sa.Text(), nullable=False),
        sa.Column("created_at", columns.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_report_key")),
    )


def downgrade() -> None:
    """Drop it, and the key with it: reports that it signed are still good."""
    op.drop_table("report_key")
