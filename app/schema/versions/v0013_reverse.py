"""The way back: servers that are the launched machine of another one, and the tokens that enrol them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

from app.kit import columns

revision: str = "0013"
down_revision: str | None = "0012"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    """Add the columns; every server is a source, and every token enrols sources."""
    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reverse_of", columns.Id(), nullable=True))
        batch_op.create_index(batch_op.f("ix_server_reverse_of"), ["reverse_of"], unique=False)
    with op.batch_alter_table("install_token", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reverse_of", columns.Id(), nullable=True))
        batch_op.create_index(batch_op.f("ix_install_token_reverse_of"), ["reverse_of"], unique=False)


def downgrade() -> None:
    """Drop them: what was a way back counts as a source of its own then."""
    with op.batch_alter_table("install_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_install_token_reverse_of"))
        batch_op.drop_column("reverse_of")
    with op.batch_alter_table("server", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_server_reverse_of"))
        batch_op.drop_column("reverse_of")
