"""Connections to SQLite, each with a thread of its own.

A task may be cancelled while it waits for a statement, which then ends in the thread of its connection. It is
closed, but SQLite keeps a connection that has an unfinished statement, with its locks, until the last cursor
is collected as garbage: nobody could write meanwhile. So a connection rolls back when it is closed.

aiosqlite goes to that thread and back for each step of a statement: to make a cursor, to execute, to fetch
and to close. Each way wakes a thread that needs the interpreter's lock, which costs more than most
statements. Here a statement is one way, which brings all its rows; SQLAlchemy fetches all of them anyway.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

import aiosqlite

_Execute = Callable[[sqlite3.Cursor, str, Any], sqlite3.Cursor]


class EndingConnection(sqlite3.Connection):
    """For sqlite3's `factory`."""

    def close(self) -> None:
        """Roll back and close; harmless a second time."""
        with suppress(sqlite3.ProgrammingError):
            self.rollback()
        super().close()


class WholeCursor(aiosqlite.Cursor):
    """A cursor that has fetched all rows of a statement, and is closed again, when it was executed.

    It serves what SQLAlchemy asks for unless it streams results, which nothing here does: `fetchall` alone.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        """Nothing is executed yet."""
        self._conn = connection
        self._rows: list[Any] = []

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        """Execute the statement and fetch its rows. Raises sqlite3.Error."""
        return await self._in_thread(sqlite3.Cursor.execute, sql, parameters or ())

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Execute the statement once for each set of parameters. Raises sqlite3.Error."""
        return await self._in_thread(sqlite3.Cursor.executemany, sql, parameters)

    async def fetchall(self) -> Sequence[Any]:
        """The rows, once."""
        rows, self._rows = self._rows, []
        return rows

    async def close(self) -> None:
        """It is closed already."""

    async def _in_thread(self, execute: _Execute, sql: str, parameters: Any) -> Self:
        run = cast("Callable[..., Awaitable[None]]", self._execute)
        await run(self._execute_all, execute, sql, parameters)
        return self

    def _execute_all(self, execute: _Execute, sql: str, parameters: Any) -> None:
        self._cursor = self._conn._conn.cursor()
        try:
            execute(self._cursor, sql, parameters)
            self._rows = self._cursor.fetchall()
        finally:
            self._cursor.close()


class WholeConnection(aiosqlite.Connection):
    """A connection whose cursors are of that kind."""

    def cursor(self) -> WholeCursor:  # type: ignore[override]  # aiosqlite's is not typed
        """A new one, which nothing has to be awaited for."""
        return WholeCursor(self)


async def connect(file: Path, statements: int) -> WholeConnection:
    """Open a database that keeps so many statements prepared. Raises sqlite3.Error."""
    options: dict[str, Any] = {"factory": EndingConnection, "cached_statements": statements}
    opening = partial(sqlite3.connect, file, check_same_thread=False, **options)
    connection = WholeConnection(opening, iter_chunk_size=1)
    connection._thread.daemon = True  # as SQLAlchemy has it for the connections that it opens
    await connection
    return connection
