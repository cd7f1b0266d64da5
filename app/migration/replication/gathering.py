"""Chunks of a put on their way to the store: checked as they come, kept until they are enough for a pack."""

import asyncio
from collections.abc import Sequence
from typing import Final

from app.migration.replication.received import Stored, verify
from app.store.pack import TARGET_BYTES
from app.wire.chunks import MIB
from app.wire.frames import MAX_RECORDS, ChunkRecord

GATHERED_BYTES: Final = TARGET_BYTES
"""Stored bytes of a batch. The database is asked about each, for 5 ms or more, however much is in it."""
_CHECKED_BYTES: Final = 4 * MIB
"""Stored bytes for which a thread pays."""
_MOST_CHECKS: Final = 2
"""That are under way at a time; the sender waits meanwhile."""


class Batch:
    """Chunks that are checked in threads while more of them come."""

    def __init__(self) -> None:
        """Nothing is in it yet."""
        self.names: set[bytes] = set()
        self._count = 0
        self._stored_bytes = 0
        self._came: list[ChunkRecord] = []
        self._came_bytes = 0
        self._checks: list[asyncio.Task[list[Stored]]] = []
        self._checked: list[Stored] = []

    @property
    def is_full(self) -> bool:
        """Whether it should be stored now."""
        return self._stored_bytes >= GATHERED_BYTES or self._count >= MAX_RECORDS

    async def add(self, records: Sequence[ChunkRecord], stored_bytes: int) -> None:
        """Take chunks that have to be checked. Raises what `verify` raises, for earlier ones."""
        self._came += records
        self._came_bytes += stored_bytes
        self._note({record.id for record in records}, len(records), stored_bytes)
        if self._came_bytes >= _CHECKED_BYTES:
            await self._begin_check()

    def add_checked(self, chunks: Sequence[Stored]) -> None:
        """Take chunks that are checked already."""
        self._checked += chunks
        stored_bytes = sum(memoryview(chunk.data).nbytes for chunk in chunks)
        self._note({chunk.id for chunk in chunks}, len(chunks), stored_bytes)

    async def checked(self) -> list[Stored]:
        """All of it, once it is checked. Raises what `verify` raises."""
        try:
            await self._begin_check()
        finally:
            await self.abandon()
        return [chunk for check in self._checks for chunk in check.result()] + self._checked

    async def abandon(self) -> None:
        """No thread has to do with it any more when this returns."""
        await asyncio.gather(*self._checks, return_exceptions=True)

    def _note(self, names: set[bytes], count: int, stored_bytes: int) -> None:
        self.names |= names
        self._count += count
        self._stored_bytes += stored_bytes

    async def _begin_check(self) -> None:
        """Begin to check what came last, when no more than the last one of the checks before is under way."""
        for check in self._checks[: 1 - _MOST_CHECKS]:
            await asyncio.shield(check)  # a sender that goes away cancels no thread
        records, self._came, self._came_bytes = self._came, [], 0
        if records:
            self._checks.append(asyncio.create_task(asyncio.to_thread(verify, records)))
