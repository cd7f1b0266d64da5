"""The export stream: one disk of a checkpoint as frames that a receiver verifies one by one.

ROOT             the root node; its hash is what the receiver asked for
for each leaf that is not all zero, in the order of the disk:
  LEAVES         that one leaf; its hash stands in the root node
  CHUNKS …       each distinct chunk of the leaf once, in any order; each hashes to its id
END
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Final

from app.store.objects import ObjectStore
from app.store.reader import ChunkReader
from app.wire.buffers import Buffer
from app.wire.chunks import MIB, ZERO_ID
from app.wire.frames import ChunkRecord, encode_chunks, encode_end, encode_leaves, encode_root
from app.wire.tree import LEAF_IDS, ZERO_LEAF, leaf_ids

FRAME_BYTES: Final = 2 * MIB
"""Stored bytes of a CHUNKS frame, exceeded by at most one chunk."""


async def export_stream(
    objects: ObjectStore,
    reader: ChunkReader,
    project: str,
    root: bytes,
    on_progress: Callable[[int], None] | None = None,
) -> AsyncIterator[bytes]:
    """The stream of the disk whose root hash is `root`, in pieces of about 2 MiB.

    `on_progress` is told before each leaf how many bytes of the disk the stream has passed.

    Raises ObjectMissing, ObjectDamaged; the receiver then sees a stream without END.
    """
    node = await asyncio.to_thread(objects.read_root, root)
    yield joined(encode_root(node.encode()))
    for number, name in enumerate(node.leaf_hashes()):
        if on_progress is not None:
            on_progress(number * LEAF_IDS * node.chunk_size)
        if name == ZERO_LEAF:
            continue
        leaf = await asyncio.to_thread(objects.read_leaf, name)
        yield joined(encode_leaves([leaf]))
        ids = [each for each in leaf_ids(leaf) if each != ZERO_ID]
        async for frame in chunk_frames(reader, project, ids):
            yield frame
    yield joined(encode_end())


async def chunk_frames(reader: ChunkReader, project: str, ids: Iterable[bytes]) -> AsyncIterator[bytes]:
    """CHUNKS frames of about FRAME_BYTES with each distinct chunk once. Raises as `export_stream`."""
    batch: list[ChunkRecord] = []
    size = 0
    async for record in reader.stored_records(project, ids):
        batch.append(record)
        size += memoryview(record.data).nbytes
        if size >= FRAME_BYTES:
            yield joined(encode_chunks(batch))
            batch, size = [], 0
    if batch:
        yield joined(encode_chunks(batch))


def joined(parts: Sequence[Buffer]) -> bytes:
    """A frame's buffers as one."""
    return b"".join(parts)
