"""The database, seen as units of work.

A unit of work is one transaction with the time it began at. Application code never commits: the edge that
opened the unit (a request, a step, a command) does, once, by leaving `Database.begin` without an error.

The SQLite file belongs to one process: an advisory lock on ``<file>.lock`` is held from `connect` to
`close`, so that an offline command cannot write under a running service. Within the process, writers take
turns in the order in which they came; a task that asks for a second writing unit inside its own would
wait for itself and is refused instead.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, TypeVar, cast

from sqlalchemy import CursorResult, Delete, Update, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.kit.bus import Bus, Event
from app.kit.clock import Clock
from app.kit.columns import Base, Blob, Hash32, Id, JsonText, UtcDateTime
from app.kit.engines import SERVER_CONNECTIONS, make_engines
from app.kit.errors import Conflict
from app.kit.filelock import FileLock
from app.kit.retry import CommitUncertain, repeat
from app.kit.settings import DatabaseSettings, Engine
from app.kit.turns import NestedUnit, make_turns

__all__ = [
    "Base",
    "Blob",
    "CommitUncertain",
    "Database",
    "DatabaseInUse",
    "Hash32",
    "Id",
    "JsonText",
    "NestedUnit",
    "UnitOfWork",
    "UtcDateTime",
    "lock_database",
]

T = TypeVar("T")
Hint: TypeAlias = Callable[[], Awaitable[None]]
Recorder: TypeAlias = Callable[["UnitOfWork"], Awaitable[None]]


class DatabaseInUse(Conflict):
    """Another process, or another connection of this one, has the SQLite file."""

    code = "DATABASE_IN_USE"
    title = "Database in use"

    def __init__(self, file: Path) -> None:
        """Name the database file."""
        super().__init__(
            f"the database {file} is open in another go2cloud process",
            remedy="stop the go2cloud service that uses it; its lock file is beside it (.lock)",
        )


@dataclass(frozen=True, slots=True, eq=False)
class UnitOfWork:
    """One transaction. Edges pass it on unopened; domain code uses the session and the time.

    `afterwards` is what is told when the commit is done, and never when it fails: hints on the bus, counts,
    log lines. A process that dies in between tells nothing. `news` are events for the bus that the database
    was given, told at the same moment; its recorder may write them down before, in this very transaction.
    """

    session: AsyncSession
    now: datetime
    afterwards: list[Hint] = field(default_factory=list)
    news: list[Event] = field(default_factory=list)

    async def changed(self, statement: Update | Delete) -> int:
        """Execute an update or delete; the number of rows that it matched (compare-and-set needs it)."""
        result = await self.session.execute(statement)
        return cast("CursorResult[Any]", result).rowcount


class Database:
    """The database of this process; make it with `connect` and end it with `close`."""

    def __init__(self, settings: DatabaseSettings, clock: Clock, lock: FileLock | None) -> None:
        """Use `connect`."""
        self.dialect: Literal["sqlite", "mysql"] = settings.engine.value
        self._engines = make_engines(settings)
        self._turns = make_turns(settings)
        self._clock = clock
        self._lock = lock
        self._bus: Bus | None = None
        self._record: Recorder | None = None

    def tell_on(self, bus: Bus) -> None:
        """Publish the news of units on this bus; without one nobody hears of them."""
        self._bus = bus

    def record_news(self, record: Recorder) -> None:
        """Let `record` see each unit with news before its commit: what it writes stays or goes with it."""
        self._record = record

    @classmethod
    def connect(cls, settings: DatabaseSettings, clock: Clock) -> Self:
        """Take the file's lock (SQLite) and prepare the engines. Connections are opened when first needed.

        Raises DatabaseInUse.
        """
        return cls(settings, clock, lock_database(settings))

    async def close(self) -> None:
        """Close all connections, then give the file's lock back."""
        await self._engines.dispose()
        if self._lock is not None:
            self._lock.release()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[UnitOfWork]:
        """A unit that writes: commits when the block ends, rolls back when it raises.

        Raises CommitUncertain when the connection breaks during the commit, and NestedUnit on SQLite.
        """
        async with self._turns.take(), _session(self._engines.writing) as session:
            unit = UnitOfWork(session, self._clock.now())
            yield unit
            if unit.news and self._record is not None:
                await self._record(unit)
            await _commit(session)
        for tell in unit.afterwards:
            await tell()
        if self._bus is not None:
            for event in unit.news:
                await self._bus.publish(event)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[UnitOfWork]:
        """A unit that only reads: it never commits, and the database refuses a write in it."""
        async with _session(self._engines.reading) as session:
            yield UnitOfWork(session, self._clock.now())

    async def run(self, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Do `work` in a unit that writes, and do all of it again when the database says that it has to be.

        So `work` may run several times: it must have no effect outside its unit.
        """

        async def attempt() -> T:
            async with self.begin() as unit:
                return await work(unit)

        return await repeat(attempt)

    @property
    def connections_in_use(self) -> int:
        """Connections that units of work hold right now."""
        return self._engines.connections_in_use

    @property
    def connections_limit(self) -> int:
        """The most connections that are opened to a server; 0 with SQLite, whose writers take turns."""
        is_server = self._engines.writing.dialect.name != "sqlite"
        return 2 * SERVER_CONNECTIONS if is_server else 0

    async def ping(self) -> None:
        """Ask the database for an answer; raises what the driver raises."""
        async with self.reading() as unit:
            await unit.session.execute(text("SELECT 1"))


def _session(engine: AsyncEngine) -> AsyncSession:
    return AsyncSession(engine, expire_on_commit=False)


async def _commit(session: AsyncSession) -> None:
    await session.flush()
    try:
        await session.commit()
    except DBAPIError as error:
        if error.connection_invalidated:
            raise CommitUncertain from error
        raise


def lock_database(settings: DatabaseSettings) -> FileLock | None:
    """The lock on the SQLite file, held; None for a database server. Raises DatabaseInUse."""
    if settings.engine is not Engine.SQLITE:
        return None
    lock = FileLock(settings.path.with_name(settings.path.name + ".lock"))
    if not lock.acquire():
        raise DatabaseInUse(settings.path)
    return lock
