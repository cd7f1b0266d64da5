"""Keeping the store: retention, garbage collection, checking, rebuilding the database."""

from app.migration.replication.collection import DatabaseGarbageIndex
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.restoring import DatabaseRebuildIndex
from app.migration.services import Services
from app.store.check import check
from app.store.findings import CheckReport, OnProgress
from app.store.gc import Collected, collect
from app.store.rebuild import RebuildReport, rebuild
from app.store.retention import RetentionPolicy
from app.store.retire import retire


async def collect_garbage(services: Services) -> Collected:
    """Drop checkpoints that retention does not keep, then delete what nothing refers to any more.

    Raises StoreError; safe beside running sessions, and when two processes do it at once.
    """
    index = DatabaseGarbageIndex(services.database)
    await index.end_idle_sessions()
    await retire(services.store, index, {}, RetentionPolicy())
    return await collect(services.store, index, int(services.settings.store.compress_bytes))


async def check_store(
    services: Services, *, read_data: bool, subset: tuple[int, int] | None, progress: OnProgress
) -> CheckReport:
    """Compare store and database; with `read_data` every byte is read. Damaged chunks are sent again."""
    index = DatabaseIndex(services.database)
    return await check(services.store, index, read_data=read_data, subset=subset, progress=progress)


async def rebuild_database(services: Services) -> RebuildReport:
    """Restore servers, disks, checkpoints and the index of chunks from the store's own files."""
    return await rebuild(services.store, DatabaseRebuildIndex(services.database))
