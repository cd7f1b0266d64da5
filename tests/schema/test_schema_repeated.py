"""An upgrade that is killed between two of its statements is repeated, and ends with the same schema."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect

from app.kit.settings import DatabaseSettings
from app.schema.compat import minimum_revision
from tests.schema.later_versions import apply, config_of, go_to
from tests.schema.narrowing import shape_of

SINCE = "0015"
"""Versions before were released without."""
VERSIONS = sorted(
    (script.revision, str(script.down_revision))
    for script in ScriptDirectory.from_config(config_of()).walk_revisions()
    if script.revision >= SINCE
)
_READS = ("SELECT", "SHOW", "PRAGMA", "DESCRIBE")


class _Broken(Exception):
    """The process dies here."""


@contextmanager
def broken_after(connection: Connection, statements: int) -> Iterator[None]:
    """Let so many statements that change something through, and no further one."""
    left = [statements]

    def look(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if not statement.lstrip().upper().startswith(_READS):
            if not left[0]:
                raise _Broken
            left[0] -= 1

    event.listen(connection, "before_cursor_execute", look)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", look)


def is_broken(connection: Connection, revision: str, statements: int) -> bool:
    """Whether the upgrade was cut off before its end."""
    try:
        with broken_after(connection, statements):
            go_to(config_of(), connection, revision)
    except _Broken:
        connection.rollback()
        return True
    return False


def whole_of(connection: Connection) -> list[str]:
    """All of the schema, as text."""
    shape, look = shape_of(connection), inspect(connection)
    return [
        f"oldest program {minimum_revision(connection)}",
        *(f"{table}: {columns}" for table, columns in sorted(shape.columns.items())),
        *(f"{table}: {sorted(demands)}" for table, demands in sorted(shape.demands.items())),
        *(
            f"{table}: {index['name']} {index['column_names']}"
            for table in sorted(shape.columns)
            for index in sorted(look.get_indexes(table), key=lambda each: str(each["name"]))
        ),
    ]


def upgrade_with_breaks(connection: Connection, revision: str, before: str) -> int:
    """Break the upgrade at each of its statements, each time from the version before; how many there are."""
    go_to(config_of(), connection, revision)
    wanted = whole_of(connection)
    for statements in range(100):
        go_to(config_of(), connection, before, up=False)
        if not is_broken(connection, revision, statements):
            return statements
        go_to(config_of(), connection, revision)
        assert whole_of(connection) == wanted
    raise AssertionError("it is broken for ever")


@pytest.mark.parametrize(("revision", "before"), VERSIONS)
async def test_an_upgrade_that_broke_at_any_statement_is_repeated(
    database_settings: DatabaseSettings, revision: str, before: str
) -> None:
    found: list[int] = []
    await apply(
        database_settings, lambda connection: found.append(upgrade_with_breaks(connection, revision, before))
    )
    assert found[0] > 1
