"""SQL that differs between the two databases, in one place."""

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, Table, insert
from sqlalchemy.orm import DeclarativeBase

from app.kit.database import UnitOfWork


async def insert_ignoring(
    uow: UnitOfWork, table: type[DeclarativeBase], rows: Sequence[dict[str, Any]]
) -> int:
    """Insert these rows (all with the same columns) but for those whose key exists already; how many those
    were that it inserted. What was added to the session before is written before."""
    if not rows:
        return 0
    await uow.session.flush()
    sqlite = uow.session.get_bind().dialect.name == "sqlite"
    statement = insert(cast("Table", table.__table__)).prefix_with("OR IGNORE" if sqlite else "IGNORE")
    counted = statement.execution_options(preserve_rowcount=True)
    result = await uow.session.execute(counted, rows)
    return cast("CursorResult[Any]", result).rowcount
