"""Holds: when the cutover last said that it goes on."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0012"
down_revision: str | None = "0009"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; a hold that stands is told until it is over, as before."""
    with op.batch_alter_table("source_hold", schema=None) as batch_op:
        batch_op.add_column(sa.Column("renewed_at", columns.UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Drop it."""
    with op.batch_alter_table("source_hold", schema=None) as batch_op:
        batch_op.drop_column("renewed_at")
