"""Which database errors mean "do it all again", and how a unit of work is repeated.

Repeated are errors after which the database has rolled everything back, or never began: 1020 (record has
changed), 1205 (lock wait time-out), 1213 (deadlock) of MariaDB and MySQL, a locked or busy SQLite file,
and a connection that was lost before the commit was sent. A connection lost while the commit was under
way is not repeated: nobody knows whether it happened (`CommitUncertain`).
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from app.kit.errors import Unavailable

T = TypeVar("T")
ATTEMPTS = 8
FIRST_PAUSE_SECONDS = 0.01
LONGEST_PAUSE_SECONDS = 1.0
SERVER_CODES = frozenset({1020, 1205, 1213})
ABSENCE_CODES = frozenset({1040, 1047, 1053, 1290, 1836, 2002, 2003, 2005, 2006, 2013})
"""No more connections, a node of Galera without a quorum, shutting down, read-only for a while (a failover,
maintenance), and the client's ways of saying that nobody is there."""

SQLITE_MESSAGES = ("database is locked", "database table is locked", "database is busy")
SQLITE_TROUBLE = ("database or disk is full", "disk I/O error", "unable to open database file")
"""The storage below the file: it has no room, or answers with an error."""


class CommitUncertain(Unavailable):
    """The connection broke during a commit: the work is either done or not."""

    code = "COMMIT_UNCERTAIN"
    title = "Outcome unknown"

    def __init__(self) -> None:
        """There is one sentence for all cases."""
        super().__init__(
            "the database connection broke while the commit was under way, so that it is done or not done",
            remedy="read the thing again; repeat the request if nothing changed",
        )


def is_transient(error: BaseException) -> bool:
    """Whether the whole unit that raised `error` may be done again with a chance to succeed."""
    if not isinstance(error, DBAPIError):
        return False
    return error.connection_invalidated or _is_conflict(error.orig)


def is_unreachable(error: BaseException) -> bool:
    """Whether `error` says that the database cannot be used at present."""
    if isinstance(error, NoFreeConnection):
        return True
    cause = error.orig if isinstance(error, DBAPIError) else None
    return is_transient(error) or (cause is not None and _is_absent(cause))


def _is_absent(cause: BaseException) -> bool:
    first = cause.args[0] if cause.args else None
    return first in ABSENCE_CODES or str(first).startswith(SQLITE_TROUBLE)


def _is_conflict(cause: BaseException | None) -> bool:
    if cause is None or not cause.args:
        return False
    first = cause.args[0]
    return first in SERVER_CODES or str(first).startswith(SQLITE_MESSAGES)


async def repeat(attempt: Callable[[], Awaitable[T]]) -> T:
    """Await `attempt` until it succeeds, at most `ATTEMPTS` times, pausing longer and at random in between.

    Raises the last error, and at once every error that is not transient.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception(is_transient),
        wait=wait_exponential_jitter(
            multiplier=FIRST_PAUSE_SECONDS, max=LONGEST_PAUSE_SECONDS, jitter=FIRST_PAUSE_SECONDS * 2
        ),
        stop=stop_after_attempt(ATTEMPTS),
        reraise=True,
    )
    return await retrying(attempt)
