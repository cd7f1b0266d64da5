"""Taking in a put: frames in, durable packs and leaves out, rows last.

Chunks are unpacked and hashed as they come, and gathered until a question to the database pays; patches, too.
While it is asked about such a batch, and while that is put into packs, the next one is gathered. What the
project stores already is only granted (sending the bytes proved possession), the rest goes into packs in the
form it was sent in. Nothing counts as received before `finish` has returned.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from app.kit.errors import BadRequest
from app.migration.replication import patching
from app.migration.replication.gathering import Batch
from app.migration.replication.leafpatches import LeafPatches
from app.migration.replication.meters import CHUNKS, STORED_BYTES
from app.migration.replication.nodes import write_leaves
from app.migration.replication.packing import PackStream
from app.migration.replication.patching import Patching
from app.migration.replication.possession import grant, known, live_chunks, placed
from app.migration.replication.reading import BATCH, chunk_reader, readable
from app.migration.replication.received import Stored, is_proved
from app.migration.replication.sessions import SessionScope
from app.migration.services import Services
from app.wire.errors import FrameError
from app.wire.frames import (
    MAX_BLOCKS_RECORDS,
    Frame,
    FrameType,
    LeafPatchRecord,
    PatchRecord,
    ProofRecord,
    chunk_records,
    leaf_patch_records,
    leaves_of,
    patch_records,
    proof_records,
)
from app.wire.messages import PutResult, Refused

T = TypeVar("T")


def _batches(records: Sequence[T]) -> Iterator[Sequence[T]]:
    """Few enough records at a time that the stored chunks they refer to fit into memory together."""
    return (records[at : at + BATCH] for at in range(0, len(records), BATCH))


class Ingest:
    """One put stream of one session; its frames are accepted one after the other."""

    def __init__(self, services: Services, scope: SessionScope) -> None:
        """Nothing is taken in yet."""
        self._services = services
        self._scope = scope
        self._reader = chunk_reader(services.store, services.database)
        self._packs = PackStream(services, scope)
        self._batch = Batch()
        self._leaf_patches = LeafPatches(services, scope)
        self._patching = Patching(services, scope)
        self._patches: list[PatchRecord] = []
        self._patch_bytes = 0
        self._nameless = 0
        self._named: dict[bytes, bytes] = {}
        self._rebuilding: deque[asyncio.Task[None]] = deque()
        self._handing = asyncio.Lock()
        self._storing: asyncio.Task[None] | None = None
        self._stored = 0
        self._known = 0
        self._leaves = 0
        self._refused: list[Refused] = []

    async def accept(self, frame: Frame) -> None:
        """Take a frame in. Raises WireError, Invalid HASH_MISMATCH, StoreFull, for it or an earlier one."""
        match frame.type:
            case FrameType.CHUNKS:
                await self._gather(frame)
            case FrameType.PATCHES | FrameType.BLOCKS:
                await self._gather_patches(frame)
            case FrameType.PROOFS:
                for proofs in _batches(proof_records(frame)):
                    await self._prove(proofs)
            case FrameType.LEAVES:
                self._leaves += await write_leaves(self._services, self._scope, leaves_of(frame))
            case FrameType.LEAF_PATCHES:
                for changes in _batches(leaf_patch_records(frame)):
                    await self._rebuild_leaves(changes)
            case FrameType.ROOT:
                raise BadRequest("a put carries no ROOT frame", code="BAD_FRAME")
            case FrameType.END:
                return

    async def settle(self) -> None:
        """All that was accepted is checked and in packs when this returns. Raises as `accept` does."""
        await self._begin_rebuilding()
        await self._rebuilt_but(0)
        await self._hand_over()
        async with self._handing:
            await self._stored_before()

    async def finish(self) -> PutResult:
        """All that was accepted is durable and recorded when this returns. Raises StoreFull."""
        await self.settle()
        await self._packs.finish()
        self._count()
        refused, named = tuple(self._refused), PutResult.joined(self._named)
        return PutResult(self._stored, self._known, self._leaves, self._packs.stored_bytes, refused, named)

    def _count(self) -> None:
        for outcome, number in (
            ("stored", self._stored),
            ("known", self._known),
            ("refused", len(self._refused)),
        ):
            CHUNKS.labels(outcome).inc(number)
        STORED_BYTES.inc(self._packs.stored_bytes)

    async def abandon(self) -> None:
        """The stream broke off; what was written stays for the next session to find."""
        await asyncio.gather(*self._rebuilding, return_exceptions=True)
        await self._batch.abandon()
        if self._storing is not None:
            await asyncio.gather(self._storing, return_exceptions=True)
        await self._packs.abandon()

    async def _gather(self, frame: Frame) -> None:
        """Keep a frame's chunks until there are enough of them to go on with."""
        await self._batch.add(chunk_records(frame), memoryview(frame.payload).nbytes)
        await self._hand_over_if_full()

    async def _gather_rebuilt(self, chunks: Sequence[Stored]) -> None:
        """The same for chunks that are checked already."""
        self._batch.add_checked(chunks)
        await self._hand_over_if_full()

    async def _hand_over_if_full(self) -> None:
        if self._batch.is_full:
            await self._hand_over()

    async def _hand_over(self) -> None:
        """Begin with the gathered chunks once those before them are done with."""
        async with self._handing:
            await self._stored_before()
            batch, self._batch = self._batch, Batch()
            if batch.names:
                self._storing = asyncio.create_task(self._store_batch(batch))

    async def _stored_before(self) -> None:
        storing, self._storing = self._storing, None
        if storing is not None:
            await storing

    async def _store_batch(self, batch: Batch) -> None:
        """While the last of it is checked, the database is asked what is there of it."""
        asking = asyncio.create_task(self._there(batch.names - self._packs.pending))
        try:
            chunks = await batch.checked()
        finally:
            await asyncio.gather(asking, return_exceptions=True)
        await self._store(chunks, *asking.result())

    async def _there(self, names: Collection[bytes]) -> tuple[dict[bytes, bool], set[bytes]]:
        """Those of these chunks that the project has, True for the server's own, and those that it lost."""
        async with self._services.database.reading() as uow:
            there = await placed(uow, self._scope, names)
            found = await known(uow, self._scope, there)
        return found, there - found.keys()

    async def _store(
        self, chunks: Sequence[Stored], found: Mapping[bytes, bool], lost: Collection[bytes]
    ) -> None:
        """Put checked chunks into packs, but for those that the project has.

        A chunk's data is a view of its frame. Where only some of the chunks are kept they are copied, else
        those few would hold the memory of all until their pack is full.
        """
        strange = [name for name, is_owned in found.items() if not is_owned]
        if strange:
            await self._grant(strange)
        fresh = [chunk for chunk in chunks if chunk.id not in found and chunk.id not in self._packs.pending]
        self._known += len(chunks) - len(fresh)
        for chunk in self._but_doubtful(fresh, lost):
            if chunk.id not in self._packs.pending:
                is_all = len(fresh) == len(chunks)
                await self._packs.add(chunk if is_all else replace(chunk, data=bytes(chunk.data)))
                self._stored += 1
            else:
                self._known += 1

    def _but_doubtful(self, chunks: list[Stored], lost: Collection[bytes]) -> list[Stored]:
        """Refuse those of these chunks, of BLOCKS records, that would take the place of a lost one as deltas:
        their bases might stand on that very chunk, and nobody could look before they had a name."""
        doubtful = {
            chunk.digest: None for chunk in chunks if chunk.id in lost and chunk.digest and chunk.base
        }
        for digest in doubtful:
            self._named.pop(digest, None)
            self._refused.append(Refused(digest.hex(), "BLOCKS_REFUSED"))
        return [chunk for chunk in chunks if chunk.digest not in doubtful]

    async def _grant(self, names: Collection[bytes]) -> None:
        """The server proved possession of these chunks."""
        await self._services.database.run(lambda uow: grant(uow, self._scope, names))

    async def _gather_patches(self, frame: Frame) -> None:
        """Keep a frame's patches until there are enough of them to go on with. Raises FrameError."""
        self._patches += patch_records(frame)
        self._nameless += frame.count if frame.type is FrameType.BLOCKS else 0
        if self._nameless > MAX_BLOCKS_RECORDS:
            raise FrameError(f"a put has more than {MAX_BLOCKS_RECORDS} BLOCKS records")
        self._patch_bytes += memoryview(frame.payload).nbytes
        is_idle = all(task.done() for task in self._rebuilding)
        most = patching.FEW if is_idle else patching.BATCH
        if len(self._patches) >= most or self._patch_bytes >= patching.BATCH_BYTES:
            await self._begin_rebuilding()

    async def _begin_rebuilding(self) -> None:
        """Begin with the gathered patches: their questions are asked while those before them are rebuilt."""
        await self._rebuilt_but(patching.BATCHES - 1)
        records, self._patches, self._patch_bytes = self._patches, [], 0
        if records:
            self._rebuilding.append(asyncio.create_task(self._rebuild(records)))

    async def _rebuilt_but(self, most: int) -> None:
        """No more than `most` batches are under way when this returns."""
        while len(self._rebuilding) > most:
            await self._rebuilding.popleft()

    async def _rebuild(self, records: Sequence[PatchRecord]) -> None:
        for some in patching.batches(records):
            async with aclosing(self._patching.rebuild(some)) as done:
                async for rebuilt in done:
                    self._refused += rebuilt.refused
                    self._named |= rebuilt.named
                    await self._gather_rebuilt(rebuilt.chunks)

    async def _rebuild_leaves(self, records: Sequence[LeafPatchRecord]) -> None:
        """Store patched leaves whole; what cannot be rebuilt is refused."""
        rebuilt = await self._leaf_patches.rebuild(records)
        self._refused += [Refused(name.hex(), "LEAF_BASE_MISSING") for name in rebuilt.baseless]
        self._refused += [Refused(name.hex(), "LEAF_MISMATCH") for name in rebuilt.mismatched]
        if rebuilt.leaves:
            self._leaves += await write_leaves(self._services, self._scope, rebuilt.leaves)

    async def _prove(self, records: Sequence[ProofRecord]) -> None:
        async with self._services.database.reading() as uow:
            stored = await live_chunks(uow, self._scope, {record.id for record in records})
        plain = await readable(self._reader, self._scope.project_id, stored)
        proved = {record.id for record in records if record.id in plain and self._holds(record, plain)}
        self._refused += [
            Refused(record.id.hex(), "PROOF_REFUSED") for record in records if record.id not in proved
        ]
        self._known += len(proved)
        await self._grant(proved)

    def _holds(self, record: ProofRecord, plain: dict[bytes, bytes]) -> bool:
        return is_proved(record, plain[record.id], self._scope.proof_key)
