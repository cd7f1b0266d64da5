"""Reading chunks of which some may be missing or damaged: the rest is still answered."""

from collections.abc import Iterable, Sequence

from app.kit.database import Database
from app.migration.replication.index import DatabaseIndex
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.objects import ObjectStore
from app.store.reader import ChunkReader

BATCH = 32
"""Chunks whose plain bytes are in memory together: 8 MiB of the usual size."""


def chunk_reader(store: ObjectStore, database: Database) -> ChunkReader:
    """A reader of the store's chunks by the database's index."""
    return ChunkReader(store, DatabaseIndex(database))


async def readable(reader: ChunkReader, project: str, ids: Iterable[bytes]) -> dict[bytes, bytes]:
    """The plain bytes of those chunks that are stored whole; all of them are in memory together."""
    ordered = sorted(set(ids))
    found: dict[bytes, bytes] = {}
    for at in range(0, len(ordered), BATCH):
        found |= await _read(reader, project, ordered[at : at + BATCH])
    return found


async def _read(reader: ChunkReader, project: str, ids: Sequence[bytes]) -> dict[bytes, bytes]:
    """Halve the batch around what cannot be read."""
    try:
        return await reader.read(project, ids)
    except (ObjectMissing, ObjectDamaged):
        if len(ids) == 1:
            return {}
    half = len(ids) // 2
    return await _read(reader, project, ids[:half]) | await _read(reader, project, ids[half:])
