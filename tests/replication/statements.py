"""What a database is asked while something runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from app.kit.database import Database


@contextmanager
def counted(database: Database) -> Iterator[list[str]]:
    """The SQL of the reading connections of this database while the block runs."""
    statements: list[str] = []
    engine = database._engines.reading.sync_engine

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", note)
