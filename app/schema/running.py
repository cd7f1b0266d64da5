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
from app.schema.compat import minimum_revision
from app.schema.standing import SchemaTooNew, Standing

HEAD = "head"
CHARSET = "utf8mb4"
COLLATION = "utf8mb4_bin"
"""Compares text byte by byte, as SQLite does, so that both engines agree on what is equal."""

LOCK_NAME = "go2cloud-schema"
LOCK_SECONDS = 60


class SchemaBroken(Conflict):
    """A schema command left rows that refer to nothing."""

    code = "SCHEMA_BROKEN"
    title = "Broken references"


def head() -> str:
    """The newest version that this program knows."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise RuntimeError("this program has no versions of its schema: install it anew")
    return newest


async def upgrade(settings: DatabaseSettings, revision: str = HEAD) -> None:
    """Bring the schema up to `revision`; that of a later program, on which this one runs, is left as it is.

    Raises DatabaseInUse, SchemaTooNew; SchemaBroken after undoing it (SQLite).
    """
    await _change(settings, lambda config: command.upgrade(config, revision), leaves_newer=True)


async def downgrade(settings: DatabaseSettings, revision: str) -> None:
    """Take the schema back to `revision`, ``base`` to nothing; what the older schema cannot hold is lost.

    Only the program that made a version knows the way back: another raises SchemaTooNew.
    """
    await _change(settings, lambda config: command.downgrade(config, revision))


async def draft(settings: DatabaseSettings, message: str) -> None:
    """Write a new version file with what differs between the tables in code and the schema of `settings`."""
    await _change(settings, lambda config: _draft(config, message))


async def standing(settings: DatabaseSettings) -> Standing:
    """How the schema and this program stand to each other. Takes no lock, makes no file."""
    if settings.engine is Engine.SQLITE and not settings.path.exists():
        return Standing(None, head(), is_known=False, minimum=None)
    async with _connection(make_engines(settings).reading) as connection:
        return await connection.run_sync(_standing)


async def current(settings: DatabaseSettings) -> str | None:
    """The version of the schema; None for an empty database."""
    return (await standing(settings)).present


async def is_current(settings: DatabaseSettings) -> bool:
    """Whether the schema is the newest that this program knows."""
    return await current(settings) == head()


async def require_usable(settings: DatabaseSettings) -> Standing:
    """How they stand, where this program runs on the schema. Raises SchemaOutdated or SchemaTooNew."""
    found = await standing(settings)
    found.require_usable()
    return found


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "app:schema")
    config.set_main_option("path_separator", "os")
    return config


def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _standing(connection: Connection) -> Standing:
    present = MigrationContext.configure(connection).get_current_revision()
    return Standing(present, head(), present in _known(), minimum_revision(connection))


def _draft(config: Config, message: str) -> None:
    command.revision(config, message, autogenerate=True)


async def _change(
    settings: DatabaseSettings, action: Callable[[Config], Any], *, leaves_newer: bool = False
) -> None:
    lock = lock_database(settings)
    try:
        async with _connection(make_schema_engine(settings)) as connection, _alone(connection):
            found = await connection.run_sync(_standing)
            await connection.rollback()
            found.require_not_too_new()
            if found.is_newer:
                _leave(found, leaves_newer=leaves_newer)
            else:
                await connection.run_sync(_act, action)
    finally:
        if lock is not None:
            lock.release()


def _leave(found: Standing, *, leaves_newer: bool) -> None:
    """A schema of a later program is nothing to be changed by this one. Raises SchemaTooNew."""
    if not leaves_newer:
        raise SchemaTooNew(
            f"the database has schema version {found.present}, this program knows none after {found.wanted}",
            remedy="run this command with the newer go2cloud that made it",
        )


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
