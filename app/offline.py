"""Commands that work on database and store directly, while no service uses them.

The SQLite file and the store are locked: a command that finds a service running says so and does nothing.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from app.kit.clock import SystemClock
from app.kit.database import Database
from app.kit.redisbus import make_bus
from app.kit.settings import Engine, Settings
from app.migration.access import users
from app.migration.access.users import OneTimePassword
from app.migration.projects.service import ensure_default_project
from app.migration.replication import maintenance
from app.migration.services import Services
from app.schema import running
from app.schema.standing import Standing
from app.store.findings import CheckReport, OnProgress
from app.store.gc import Collected
from app.store.objects import ObjectStore
from app.store.opening import open_backend
from app.store.rebuild import RebuildReport


async def upgrade(settings: Settings, revision: str) -> str | None:
    """Bring the schema up to `revision`; returns the version that it has then. Raises DatabaseInUse."""
    settings.database.path.parent.mkdir(parents=True, exist_ok=True)
    await running.upgrade(settings.database, revision)
    return await running.current(settings.database)


async def downgrade(settings: Settings, revision: str) -> str | None:
    """Take the schema back to `revision`; returns the version that it has then. Raises DatabaseInUse."""
    await running.downgrade(settings.database, revision)
    return await running.current(settings.database)


async def current(settings: Settings) -> Standing:
    """How the schema and this program stand to each other."""
    return await running.standing(settings.database)


async def create_administrator(settings: Settings, name: str) -> OneTimePassword:
    """Make an administrator with a one-time password. Raises UserExists, DatabaseInUse, SchemaOutdated."""
    async with _database(settings) as database:
        return await database.run(lambda uow: users.create_administrator(uow, name))


async def reset_password(settings: Settings, name: str) -> OneTimePassword:
    """Give a user a new one-time password. Raises UserNotFound, DatabaseInUse, SchemaOutdated."""
    async with _database(settings) as database:
        return await database.run(lambda uow: users.reset_password(uow, name))


async def check_store(
    settings: Settings, *, read_data: bool, subset: tuple[int, int] | None, progress: OnProgress
) -> CheckReport:
    """Compare store and database. Raises StoreInUse, DatabaseInUse."""
    async with _services(settings) as services:
        return await maintenance.check_store(services, read_data=read_data, subset=subset, progress=progress)


async def collect_garbage(settings: Settings) -> Collected:
    """Apply retention and delete what nothing refers to. Raises StoreInUse, DatabaseInUse, StoreAhead."""
    async with _services(settings) as services:
        return await maintenance.collect_garbage(services)


async def rebuild_database(settings: Settings) -> RebuildReport:
    """Fill an empty database from the store. Raises StoreInUse, DatabaseInUse."""
    settings.database.path.parent.mkdir(parents=True, exist_ok=True)
    if (await running.standing(settings.database)).is_outdated:
        await running.upgrade(settings.database)
    async with _services(settings) as services:
        report = await maintenance.rebuild_database(services)
        await services.database.run(ensure_default_project)
        return report


@asynccontextmanager
async def _database(settings: Settings) -> AsyncIterator[Database]:
    """The database, on whose schema this program runs. An empty embedded one is made."""
    if settings.database.engine is Engine.SQLITE and not settings.database.path.exists():
        await upgrade(settings, running.HEAD)
    await running.require_usable(settings.database)
    database = Database.connect(settings.database, SystemClock())
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _services(settings: Settings) -> AsyncIterator[Services]:
    """Database and store, both locked for this command alone."""
    grace = timedelta(seconds=settings.store.gc_grace_seconds)
    async with _database(settings) as database:
        backend = await asyncio.to_thread(open_backend, settings.store)
        bus = make_bus(settings.redis)
        try:
            with backend.lock(exclusive=True):
                store = ObjectStore(backend, grace=grace)
                yield Services(settings, SystemClock(), database, bus, store)
        finally:
            await bus.close()
            await asyncio.to_thread(backend.close)
