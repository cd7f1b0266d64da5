"""How connections are made and how their transactions begin, for each engine.

SQLite: WAL (readers do not wait for the writer), ``synchronous=FULL`` (a commit survives a power cut),
foreign keys on. Python's driver would begin a transaction at the first write only, as a deferred one that
can fail to become a writer half-way; so the driver is put into autocommit and SQLAlchemy's begin event
says ``BEGIN IMMEDIATE`` on the writing engine. The reading engine's connections are ``query_only``.

MariaDB and MySQL: READ COMMITTED (REPEATABLE READ makes MariaDB 11.6.2 and later answer error 1020 to
ordinary updates), utf8mb4, UTC and a strict mode. A reading transaction says so, so that the server
refuses writes in it. A process that was paused inside a transaction must not hold its row locks for ever:
MariaDB ends such a transaction after `IDLE_SECONDS`, and whoever waits for a lock is told so after
`LOCK_WAIT_SECONDS` and repeats its unit.

Errors do not show the parameters of their statement, which hold secrets: errors come into logs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from app.kit.settings import DatabaseSettings, Engine
from app.kit.sqlitedriver import connect

SQLITE_BUSY_SECONDS = 10
SQLITE_STATEMENTS = 16
"""That a connection keeps prepared. A list of another length is another statement, and one about a thousand
chunks takes 190 KiB: of the driver's 128 most never came again, and they held 40 MiB."""

SERVER_CONNECTIONS = 10
"""That stay open; as many more are opened when they are needed."""

SERVER_RECYCLE_SECONDS = 1800
"""Below the eight hours after which a server drops an idle connection, and below common firewalls' hour."""

LOCK_WAIT_SECONDS = 5
IDLE_SECONDS = 15
"""Between two statements of one transaction; no unit of ours waits for anything but the database."""

SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_SQLITE_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    f"busy_timeout = {SQLITE_BUSY_SECONDS * 1000}",
)


@dataclass(frozen=True, slots=True)
class Engines:
    """One engine for units that write and one for units that only read; a server database shares its pool."""

    writing: AsyncEngine
    reading: AsyncEngine

    @property
    def connections_in_use(self) -> int:
        """Connections that are taken out of the pools right now."""
        pools = {id(each.pool): each.pool for each in (self.writing, self.reading)}.values()
        return sum(pool.checkedout() for pool in pools if isinstance(pool, QueuePool))

    async def dispose(self) -> None:
        """Close all connections."""
        await self.writing.dispose()
        await self.reading.dispose()


def make_engines(settings: DatabaseSettings) -> Engines:
    """The engines of `settings`; nothing is connected yet."""
    if settings.engine is Engine.SQLITE:
        return Engines(_sqlite(settings, "BEGIN IMMEDIATE"), _sqlite(settings, "BEGIN", "query_only = ON"))
    return _server(settings)


def make_schema_engine(settings: DatabaseSettings) -> AsyncEngine:
    """An engine for changing the schema.

    On SQLite foreign keys are off: else dropping a table, as rebuilding one does, would delete the rows that
    refer to it. The caller checks the references when it is done.
    """
    if settings.engine is Engine.SQLITE:
        settings.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return _sqlite(settings, "BEGIN IMMEDIATE", "foreign_keys = OFF")
    return _server(settings).writing


def database_url(settings: DatabaseSettings) -> URL:
    """The URL that SQLAlchemy connects to. It holds the password in clear: never log it."""
    if settings.engine is Engine.SQLITE:
        return URL.create("sqlite+aiosqlite", database=str(settings.path))
    return URL.create(
        "mysql+aiomysql",
        username=settings.user,
        password=None if settings.password is None else settings.password.get_secret_value(),
        host=settings.host,
        port=settings.port,
        database=settings.name,
        query={"charset": "utf8mb4"},
    )


def _sqlite(settings: DatabaseSettings, begin: str, *pragmas: str) -> AsyncEngine:
    connecting = partial(connect, settings.path, SQLITE_STATEMENTS)
    # the connection that was used last comes first: it has statements and pages at hand
    engine = create_async_engine(
        database_url(settings), hide_parameters=True, async_creator=connecting, pool_use_lifo=True
    )
    _on_connect(engine, (*_SQLITE_PRAGMAS, *pragmas))

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _on_connect(engine: AsyncEngine, pragmas: tuple[str, ...]) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        with _cursor(connection) as cursor:
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")


@contextmanager
def _cursor(connection: Any) -> Iterator[Any]:
    cursor = connection.cursor()
    try:
        yield cursor
    finally:
        cursor.close()


def _server(settings: DatabaseSettings) -> Engines:
    engine = create_async_engine(
        database_url(settings),
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        pool_size=SERVER_CONNECTIONS,
        max_overflow=SERVER_CONNECTIONS,
        pool_pre_ping=True,
        pool_recycle=SERVER_RECYCLE_SECONDS,
        connect_args={
            "init_command": _session_variables(),
            "connect_timeout": 10,
        },
    )
    return Engines(engine, _reading_only(engine))


def _session_variables() -> str:
    """What each connection sets. MySQL, which has neither a limit for idle transactions nor Galera, skips it.

    A transaction on a node of Galera begins when the node has what others committed before, since requests of
    one client may reach different nodes.
    """
    common = f"time_zone = '+00:00', sql_mode = '{SQL_MODE}', innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}"
    of_mariadb = f"idle_write_transaction_timeout = {IDLE_SECONDS}, wsrep_sync_wait = 1"
    return f"SET {common} /*M!100300 , {of_mariadb} */"


def _reading_only(engine: AsyncEngine) -> AsyncEngine:
    reading = engine.execution_options()

    @event.listens_for(reading.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("START TRANSACTION READ ONLY")

    return reading
