"""Schema commands, run inside this process with the settings of the service.

Only one of them changes a database at a time: on SQLite the file's lock is held (so that no service may
be running), on MariaDB and MySQL a named lock of the server.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from app.kit.database import lock_database
from app.kit.engines import make_engines, make_schema_engine
from app.kit.errors import Conflict, Unavailable
from app.kit.settings import DatabaseSettings, Engine

HEAD = "head"
CHARSET = "utf8mb4"
COLLATION = "utf8mb4_bin"
"""Compares text byte by byte, as SQLite does, so that both engines agree on what is equal."""

LOCK_NAME = "go2cloud-schema"
LOCK_SECONDS = 60


class SchemaOutdated(Conflict):
    """The schema is older than this program needs."""

    code = "SCHEMA_OUTDATED"
    title = "Schema outdated"


class SchemaTooNew(Conflict):
    """The schema is of a later program, or none that this one knows."""

    code = "SCHEMA_TOO_NEW"
    title = "Schema too new"


class SchemaBroken(Conflict):
    """A schema command left rows that refer to nothing."""

    code = "SCHEMA_BROKEN"
    title = "Broken references"


def head() -> str | None:
    """The newest version that this program knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


async def upgrade(settings: DatabaseSettings, revision: str = HEAD) -> None:
    """Bring the schema up to `revision`. Raises DatabaseInUse; SchemaBroken after undoing it (SQLite)."""
    await _change(settings, lambda config: command.upgrade(config, revision))


async def downgrade(settings: DatabaseSettings, revision: str) -> None:
    """Take the schema back to `revision`, ``base`` to nothing; what the older schema cannot hold is lost."""
    await _change(settings, lambda config: command.downgrade(config, revision))


async def draft(settings: DatabaseSettings, message: str) -> None:
    """Write a new version file with what differs between the tables in code and the schema of `settings`."""
    await _change(settings, lambda config: _draft(config, message))


async def current(settings: DatabaseSettings) -> str | None:
    """The version of the schema; None for an empty database. Takes no lock."""
    if settings.engine is Engine.SQLITE and not settings.path.exists():
        return None
    async with _connection(make_engines(settings).reading) as connection:
        return await connection.run_sync(_version)


async def is_current(settings: DatabaseSettings) -> bool:
    """Whether the schema is the one that this program needs."""
    return await current(settings) == head()


async def require_current(settings: DatabaseSettings) -> None:
    """Raises SchemaOutdated or SchemaTooNew unless the schema is the one that this program needs."""
    present, wanted = await current(settings), head()
    if present == wanted:
        return
    if present is not None and present not in _known():
        raise SchemaTooNew(
            f"the database has schema version {present}, which this program does not know",
            remedy="start the newer go2cloud that made it, or restore a backup from before the upgrade",
        )
    raise SchemaOutdated(
        f"the database has schema version {present or 'none'}, this program needs {wanted}",
        remedy="run: go2cloud db upgrade",
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "app:schema")
    config.set_main_option("path_separator", "os")
    return config


def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _draft(config: Config, message: str) -> None:
    command.revision(config, message, autogenerate=True)


async def _change(settings: DatabaseSettings, action: Callable[[Config], Any]) -> None:
    lock = lock_database(settings)
    try:
        async with _connection(make_schema_engine(settings)) as connection, _alone(connection):
            await connection.run_sync(_act, action)
    finally:
        if lock is not None:
            lock.release()


def _act(connection: Connection, action: Callable[[Config], Any]) -> None:
    """Run one alembic command. On SQLite it is one transaction with the check of all references."""
    config = _config()
    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        with connection.begin():
            action(config)
            _check_references(connection)
    else:
        action(config)
        connection.commit()


def _check_references(connection: Connection) -> None:
    orphans = connection.execute(text("PRAGMA foreign_key_check")).all()
    if orphans:
        tables = ", ".join(sorted({str(row[0]) for row in orphans}))
        raise SchemaBroken(
            f"{len(orphans)} rows refer to rows that do not exist, in: {tables}",
            remedy="restore a backup, and report this",
        )


@asynccontextmanager
async def _connection(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    try:
        async with engine.connect() as connection:
            yield connection
    finally:
        await engine.dispose()


@asynccontextmanager
async def _alone(connection: AsyncConnection) -> AsyncIterator[None]:
    """On a database server: the only schema command, on a database of the right character set."""
    if connection.dialect.name == "sqlite":
        yield
        return
    taken = await connection.scalar(
        text("SELECT GET_LOCK(:name, :wait)"), {"name": LOCK_NAME, "wait": LOCK_SECONDS}
    )
    if taken != 1:
        raise Unavailable(
            f"another schema command has been running for more than {LOCK_SECONDS} seconds",
            code="SCHEMA_BUSY",
            remedy="wait until it ends, then try again",
        )
    await _set_charset(connection)
    await connection.commit()
    yield


async def _set_charset(connection: AsyncConnection) -> None:
    """Make what tables are created with independent of the server's default."""
    row = (
        await connection.execute(text("SELECT DATABASE(), @@character_set_database, @@collation_database"))
    ).one()
    if (row[1], row[2]) != (CHARSET, COLLATION):
        name = connection.dialect.identifier_preparer.quote_identifier(str(row[0]))
        await connection.execute(text(f"ALTER DATABASE {name} CHARACTER SET {CHARSET} COLLATE {COLLATION}"))
