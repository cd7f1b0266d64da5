"""Which programs run on the present schema.

A version of the schema *expands* it: it only adds, so that programs of earlier versions go on on it. Or it
*contracts* it: it takes away what only earlier programs use. The schema itself says which is the oldest
program that runs on it, by the newest schema version that this program knows: one row, which a contracting
version raises (`require_program`) and an expanding one leaves alone. A program that is older than its schema
reads it before it does anything else (`app.schema.running.require_usable`).
"""

from enum import StrEnum

import sqlalchemy as sa
from alembic import op
from sqlalchemy.orm import Mapped, mapped_column

from app.kit.columns import Base

ROW = 1


class Change(StrEnum):
    """What a version does to the one before; each after 0017 states it as `CHANGE`."""

    EXPANDS = "expands"
    CONTRACTS = "contracts"


class SchemaCompatRow(Base):
    """The only row: programs that know no version as new as `minimum_revision` do not run on the schema."""

    __tablename__ = "schema_compat"

    id: Mapped[int] = mapped_column(sa.Integer, primary_key=True, autoincrement=False)
    minimum_revision: Mapped[str] = mapped_column(sa.String(32))


def require_program(revision: str) -> None:
    """In a version's `upgrade` or `downgrade`: only programs that know `revision` run on the schema now.

    It is the first step of a contracting upgrade, so that no older program starts on what is half taken away,
    and the last of its downgrade, with what held before. May be repeated.
    """
    table = sa.table("schema_compat", sa.column("id"), sa.column("minimum_revision"))
    op.execute(sa.delete(table))
    op.execute(sa.insert(table).values(id=ROW, minimum_revision=revision))


def minimum_revision(connection: sa.Connection) -> str | None:
    """What `require_program` said last; None where the schema says nothing."""
    if not sa.inspect(connection).has_table(SchemaCompatRow.__tablename__):
        return None
    return connection.scalar(sa.select(SchemaCompatRow.minimum_revision).where(SchemaCompatRow.id == ROW))
