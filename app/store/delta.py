"""The delta stream: what turns one disk of a store into another, as frames that are verified one by one.

ROOT             the root node of the disk as it was
ROOT             the root node of the disk as it is to be
for each leaf whose hash differs, in the order of the disk:
  LEAVES         that leaf as it was and as it is to be; their hashes stand in the root nodes
  CHUNKS …       each distinct chunk at a place that differs, once, in any order, but for zeros
END

Leaves that are equal are not read: a delta costs what differs, whatever the disk's size. Both leaves travel,
so that the receiver knows from nothing but hashes which places differ, those that became zero included.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from app.store.errors import DeltaImpossible
from app.store.export import chunk_frames, joined
from app.store.objects import ObjectStore
from app.store.reader import ChunkReader
from app.wire.chunks import ZERO_ID
from app.wire.frames import encode_end, encode_leaves, encode_root
from app.wire.tree import LEAF_IDS, RootNode, leaf_changes


async def delta_stream(
    objects: ObjectStore,
    reader: ChunkReader,
    project: str,
    before: bytes,
    root: bytes,
    on_progress: Callable[[int], None] | None = None,
) -> AsyncIterator[bytes]:
    """The stream from the disk whose root hash is `before` to the one whose root hash is `root`.

    `on_progress` is told before each leaf that differs how many bytes of the disk the stream has passed.

    Raises DeltaImpossible, ObjectMissing where one of the two is not in the store any more, ObjectDamaged.
    """
    old = await asyncio.to_thread(objects.read_root, before)
    new = await asyncio.to_thread(objects.read_root, root)
    require_comparable(old, new)
    yield joined(encode_root(old.encode()))
    yield joined(encode_root(new.encode()))
    for number in differing_leaves(old, new):
        if on_progress is not None:
            on_progress(number * LEAF_IDS * new.chunk_size)
        was = await asyncio.to_thread(objects.read_leaf, old.leaf(number))
        becomes = await asyncio.to_thread(objects.read_leaf, new.leaf(number))
        yield joined(encode_leaves([was, becomes]))
        fresh = [name for _, name in leaf_changes(was, becomes) if name != ZERO_ID]
        async for frame in chunk_frames(reader, project, fresh):
            yield frame
    yield joined(encode_end())


def differing_leaves(old: RootNode, new: RootNode) -> list[int]:
    """The numbers of the new disk's leaves that the old one has not, ascending."""
    return [number for number in range(new.count) if old.leaf(number) != new.leaf(number)]


def require_comparable(old: RootNode, new: RootNode) -> None:
    """Raises DeltaImpossible for disks that are cut into chunks of different sizes."""
    if old.chunk_size != new.chunk_size:
        raise DeltaImpossible(
            f"the disk was cut into chunks of {old.chunk_size} bytes and is of {new.chunk_size} now",
            remedy="write the volume anew",
        )
