"""Connections to SQLite that end their transaction when they are closed.

A task may be cancelled while it waits for a statement, which then ends in the thread of its connection. It is
closed, but SQLite keeps a connection that has an unfinished statement, with its locks, until the last cursor
is collected as garbage: nobody could write meanwhile.
"""

import sqlite3
from contextlib import suppress


class EndingConnection(sqlite3.Connection):
    """For sqlite3's `factory`."""

    def close(self) -> None:
        """Roll back and close; harmless a second time."""
        with suppress(sqlite3.ProgrammingError):
            self.rollback()
        super().close()
