"""User-data for the cloud-init of launched machines; addresses stand in the launch settings as they are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add the table of user-data."""
    op.create_table(
        "launch_user_data",
        sa.Column("server_id", columns.Id(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", columns.Blob(), nullable=False),
        sa.ForeignKeyConstraint(["server_id"], ["server.id"], name=op.f("fk_launch_user_data_server_id")),
        sa.PrimaryKeyConstraint("server_id", "digest", name=op.f("pk_launch_user_data")),
    )


def downgrade() -> None:
    """Drop the user-data that is kept."""
    op.drop_table("launch_user_data")
