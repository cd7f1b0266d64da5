"""From checked chunks to packs: one fills and is hashed while the one before is written, so two are in memory
at most. The one before these, whose bytes are durable and let go, is recorded meanwhile.
"""

import asyncio
from dataclasses import replace

from app.kit.database import UnitOfWork
from app.migration.replication.packs import record_pack
from app.migration.replication.received import Stored
from app.migration.replication.sessions import SessionScope
from app.migration.services import Services
from app.store.index import Registration
from app.store.pack import PackBuilder, SealedPack


class PackStream:
    """The packs of one put. Chunks are durable and recorded when `finish` has returned."""

    def __init__(self, services: Services, scope: SessionScope) -> None:
        """Start with an empty pack."""
        self._services = services
        self._scope = scope
        self._builder = self._new_builder()
        self._writing: asyncio.Task[None] | None = None
        self._recording: asyncio.Task[None] | None = None
        self.pending: set[bytes] = set()
        self.stored_bytes = 0

    async def add(self, chunk: Stored) -> None:
        """Take a chunk that the store lacks; its buffer must not change any more. Raises StoreFull."""
        patched = (chunk.base, chunk.depth, chunk.outboard)
        self._builder.add(chunk.id, chunk.codec, chunk.raw_length, chunk.data, *patched)
        self.pending.add(chunk.id)
        if self._builder.is_full:
            await self._seal()

    async def finish(self) -> None:
        """Write what is left and wait for all of it. Raises StoreFull."""
        if not self._builder.is_empty:
            await self._seal()
        await self._written()
        await self._recorded()

    async def abandon(self) -> None:
        """The put broke off: wait for the packs that are under way, so that no thread outlives it."""
        if self._writing is not None:
            await asyncio.gather(self._writing, return_exceptions=True)
        if self._recording is not None:
            await asyncio.gather(self._recording, return_exceptions=True)

    async def _seal(self) -> None:
        builder, self._builder = self._builder, self._new_builder()
        pack = await asyncio.to_thread(builder.seal)
        await self._written()
        self._writing = asyncio.create_task(self._write(pack))

    def _new_builder(self) -> PackBuilder:
        return PackBuilder(self._scope.project_id, self._scope.server_id)

    async def _written(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            await writing

    async def _recorded(self) -> None:
        recording, self._recording = self._recording, None
        if recording is not None:
            await recording

    async def _write(self, pack: SealedPack) -> None:
        registration = self._services.store.registration()
        await asyncio.to_thread(self._services.store.write_pack, pack)
        await self._recorded()
        self._recording = asyncio.create_task(self._record(replace(pack, parts=()), registration))

    async def _record(self, pack: SealedPack, registration: Registration) -> None:
        async def record(uow: UnitOfWork) -> None:
            registration.require(uow.now)
            await record_pack(uow, self._scope, pack)

        await self._services.database.run(record)
        self.stored_bytes += pack.size
