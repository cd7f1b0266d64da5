"""Reading chunks: where they are by the index, their bytes from the packs, verified by their ids.

Records that lie near each other in a pack are fetched by one ranged read. All reading, decompression and
hashing runs in threads; memory is bounded by the batch, whatever is asked for.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.index import ChunkIndex, Location
from app.store.objects import ObjectStore
from app.store.pack import MAX_DEPTH
from app.store.spans import Placed, by_pack, spans
from app.wire.buffers import Buffer
from app.wire.chunks import MIB, chunk_id
from app.wire.codec import Codec, decode, encode
from app.wire.errors import WireError
from app.wire.frames import ChunkRecord
from app.wire.patch import Patch, apply_patch

LOCATE_IDS: Final = 4096
BATCH_BYTES: Final = 32 * MIB
"""Plain bytes of one batch in memory; a delta adds its bases."""
STREAMED_BYTES: Final = 8 * MIB
"""The same of a stream of stored records, of which two batches are in memory."""


class ChunkReader:
    """Reads chunks of any project by id."""

    def __init__(self, objects: ObjectStore, index: ChunkIndex) -> None:
        """Read packs from `objects` where `index` says that chunks are."""
        self._objects = objects
        self._index = index

    async def read(self, project: str, ids: Iterable[bytes]) -> dict[bytes, bytes]:
        """The plain bytes of a few chunks at once: all of them are in memory together.

        Raises ObjectMissing, ObjectDamaged.
        """
        return {name: plain async for name, plain in self.chunks(project, ids)}

    async def chunks(self, project: str, ids: Iterable[bytes]) -> AsyncIterator[tuple[bytes, bytes]]:
        """Plain bytes of chunks, each verified, every distinct id once, in the order of the store.

        Raises ObjectMissing for an id without a record, ObjectDamaged for one whose bytes are not its own.
        """
        async for batch in self._batches(project, ids, BATCH_BYTES):
            plain = await self._plain(project, batch, MAX_DEPTH)
            for item in plain.items():
                yield item

    async def stored_records(self, project: str, ids: Iterable[bytes]) -> AsyncIterator[ChunkRecord]:
        """The chunks as records for CHUNKS frames, compressed as they are stored; deltas are rebuilt.

        While the records of one batch are taken the next one is read. What is passed on as stored is not
        hashed here: the receiver does that. Raises as `chunks`.
        """
        under_way: deque[asyncio.Task[list[ChunkRecord]]] = deque()
        try:
            async for batch in self._batches(project, ids, STREAMED_BYTES):
                under_way.append(asyncio.create_task(self._records(project, batch)))
                if len(under_way) > 1:
                    for record in await under_way.popleft():
                        yield record
            for last in under_way:
                for record in await last:
                    yield record
        finally:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _records(self, project: str, batch: Sequence[Placed]) -> list[ChunkRecord]:
        whole = [item for item in batch if item[1].codec is not Codec.DELTA]
        records = await asyncio.to_thread(self._as_stored, whole)
        deltas = [item for item in batch if item[1].codec is Codec.DELTA]
        if not deltas:
            return records
        rebuilt = await self._plain(project, deltas, MAX_DEPTH)
        return records + await asyncio.to_thread(_encoded, rebuilt)

    async def _batches(self, project: str, ids: Iterable[bytes], most: int) -> AsyncIterator[list[Placed]]:
        """The located chunks by pack and offset, in batches of at most `most` plain bytes."""
        remaining = iter(dict.fromkeys(ids))
        while some := list(islice(remaining, LOCATE_IDS)):
            for batch in _bounded(await self._locate(project, some), most):
                yield batch

    async def _locate(self, project: str, ids: Sequence[bytes]) -> list[Placed]:
        found = await self._index.locate(project, ids)
        missing = [name for name in ids if name not in found]
        if missing:
            raise ObjectMissing(
                f"{len(missing)} chunks of project {project} are not in the store, first {missing[0].hex()}",
                remedy="run go2cloud store check: the agent of the server sends again what is lost",
                chunk=missing[0].hex(),
            )
        return sorted(found.items(), key=lambda item: (item[1].pack, item[1].offset))

    async def _plain(self, project: str, batch: Sequence[Placed], depth: int) -> dict[bytes, bytes]:
        """The batch's plain bytes, following chains of at most `depth` patches."""
        whole, patches = await asyncio.to_thread(self._open, batch)
        if not patches:
            return whole
        if not depth:
            raise ObjectDamaged(f"a chain of more than {MAX_DEPTH} patches leads to {patches[0][0].hex()}")
        names = list(dict.fromkeys(at.base for _, at, _ in patches if at.base is not None))
        bases = {name: whole[name] for name in names if name in whole}
        wanted = [name for name in names if name not in bases]
        if wanted:
            bases |= await self._plain(project, await self._locate(project, wanted), depth - 1)
        rebuilt = await asyncio.to_thread(_rebuild, patches, bases)
        return whole | rebuilt

    def _open(self, batch: Sequence[Placed]) -> "tuple[dict[bytes, bytes], list[StoredPatch]]":
        """The plain bytes of the whole chunks, and what is stored of the patched ones."""
        whole: dict[bytes, bytes] = {}
        patches: list[StoredPatch] = []
        for name, at, stored in self._stored(batch):
            if at.codec is Codec.DELTA:
                patches.append((name, at, bytes(stored)))
            else:
                whole[name] = _verified(name, at, stored)
        return whole, patches

    def _as_stored(self, batch: Sequence[Placed]) -> list[ChunkRecord]:
        return [ChunkRecord(name, at.codec, at.raw_length, data) for name, at, data in self._stored(batch)]

    def _stored(self, batch: Sequence[Placed]) -> Iterator[tuple[bytes, Location, Buffer]]:
        for pack, some in by_pack(spans(batch)):
            read = self._objects.read_spans(pack, [span.range for span in some])
            for span, data in zip(some, read, strict=True):
                yield from span.cut(data)


StoredPatch = tuple[bytes, Location, bytes]
"""A chunk's id, where its delta record lies, and the record's bytes."""


def _bounded(placed: Sequence[Placed], most: int) -> Iterator[list[Placed]]:
    batch: list[Placed] = []
    size = 0
    for item in placed:
        if batch and size + item[1].raw_length > most:
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += item[1].raw_length
    if batch:
        yield batch


def _verified(name: bytes, at: Location, stored: Buffer) -> bytes:
    try:
        plain = bytes(decode(at.codec, stored, at.raw_length))
    except WireError as error:
        raise _damaged(name, at) from error
    if chunk_id(plain) != name:
        raise _damaged(name, at)
    return plain


def _rebuild(patches: Sequence[StoredPatch], bases: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Apply each patch to its base and verify the outcome."""
    rebuilt = {}
    for name, at, stored in patches:
        assert at.base is not None
        try:
            plain = apply_patch(bases[at.base], Patch.decode(stored), at.raw_length)
        except WireError as error:
            raise _damaged(name, at) from error
        if chunk_id(plain) != name:
            raise _damaged(name, at)
        rebuilt[name] = plain
    return rebuilt


def _encoded(chunks: Mapping[bytes, bytes]) -> list[ChunkRecord]:
    return [ChunkRecord(name, *_packed(plain)) for name, plain in chunks.items()]


def _packed(plain: bytes) -> tuple[Codec, int, Buffer]:
    codec, data = encode(plain)
    return codec, len(plain), data


def _damaged(name: bytes, at: Location) -> ObjectDamaged:
    return ObjectDamaged(
        f"the chunk {name.hex()} in pack {at.pack.hex()} at {at.offset} does not hash to its id",
        remedy="run go2cloud store check --read-data: damaged chunks are sent again by their agents",
        chunk=name.hex(),
        pack=at.pack.hex(),
    )
