"""Dropping the checkpoints that the retention policy does not keep.

Order: take the commit marker away, durably, delete the rows, delete the file. So a marker always has a row,
also after a power cut, and a crash in between leaves at worst an unconfirmed file, which garbage collection
removes, or a row whose marker it writes again.
"""

import asyncio
from collections import defaultdict

from app.store.index import CheckpointInfo, GarbageIndex
from app.store.objects import ObjectStore
from app.store.retention import Point, RetentionPolicy, retained


async def retire(
    objects: ObjectStore, index: GarbageIndex, policies: dict[str, RetentionPolicy], default: RetentionPolicy
) -> tuple[CheckpointInfo, ...]:
    """Drop what is not kept by each project's policy; returns what was dropped. Raises StoreError."""
    servers: dict[str, list[CheckpointInfo]] = defaultdict(list)
    async for checkpoint in index.checkpoints():
        servers[checkpoint.name.server].append(checkpoint)
    dropped: list[CheckpointInfo] = []
    for checkpoints in servers.values():
        policy = policies.get(checkpoints[0].project, default)
        kept = retained([_point(item) for item in checkpoints], policy, objects.clock.now())
        surplus = [item for item in checkpoints if item.name.id not in kept]
        dropped += [item for item in surplus if await _drop(objects, index, item)]
    return tuple(dropped)


async def _drop(objects: ObjectStore, index: GarbageIndex, item: CheckpointInfo) -> bool:
    await asyncio.to_thread(objects.unconfirm_checkpoint, item.name)
    if await index.drop_checkpoint(item.name):
        await asyncio.to_thread(objects.delete_checkpoint, item.name)
        return True
    if not item.confirmed:
        return False
    file = await asyncio.to_thread(objects.read_checkpoint, item.name)
    await asyncio.to_thread(objects.confirm_checkpoint, file)
    return False


def _point(item: CheckpointInfo) -> Point:
    return Point(item.name.id, item.made_at, item.is_frozen, item.pinned)
