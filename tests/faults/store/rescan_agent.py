"""An agent that sends as little as the real one: it compares with the base, and asks before it sends."""

import asyncio
from dataclasses import dataclass, replace

from app.migration.replication.sessions import session_disk, session_scope
from app.migration.replication.trees import base_ids
from app.wire.chunks import CHUNK_SIZE, ID_BYTES, ZERO_ID, chunk_count, name_of
from app.wire.frames import encode_chunks, encode_leaves
from app.wire.messages import HAVE_SEND, Committed, LeafChange
from app.wire.tree import LEAF_BYTES, ZERO_LEAF, leaf_hash
from tests.faults.store.sample_disk import KEY
from tests.replication.agent_double import AgentDouble, chunk_record, chunks_of, leaves_of


@dataclass
class RescanAgent(AgentDouble):
    """Reads the whole disk; sends what differs from the head and is unknown, and what is asked for again."""

    sent: int = 0
    """Chunks that the last session sent."""

    async def rescan(self, data: bytes) -> Committed:
        """A whole session."""
        opened = await self.open({KEY: len(data)})
        before = await self._base_leaves(chunk_count(len(data), CHUNK_SIZE) * ID_BYTES)
        after = leaves_of(data)
        changed = {at: leaf for at, leaf in enumerate(after) if leaf != before[at]}
        doubted = {bytes.fromhex(name) for name in opened.resend}
        chunks = await self._to_send(data, b"".join(before), doubted)
        self.sent = len(chunks)
        if chunks:
            await self.put(encode_chunks([chunk_record(name, chunk) for name, chunk in chunks.items()]))
        leaves = [leaf for leaf in changed.values() if leaf_hash(leaf) != ZERO_LEAF]
        if leaves:
            await self.put(encode_leaves(leaves))
        message = self.message({KEY: data})
        changes = tuple(LeafChange(at, leaf_hash(leaf).hex()) for at, leaf in changed.items())
        return await self.send(replace(message, disks=(replace(message.disks[0], changed=changes),)))

    async def _base_leaves(self, length: int) -> list[bytes]:
        count = -(-length // LEAF_BYTES)
        async with self.services.database.reading() as uow:
            scope = await session_scope(uow, self.server, self.session.session_id)
            base = await session_disk(uow, scope, self.session.disks[0].disk_id)
        raw = await asyncio.to_thread(base_ids, self.services.store, base, 0, count)
        return [raw[at : at + LEAF_BYTES] for at in range(0, len(raw), LEAF_BYTES)]

    async def _to_send(self, data: bytes, before: bytes, doubted: set[bytes]) -> dict[bytes, bytes]:
        """The chunks that the service lacks, by id."""
        found: dict[bytes, bytes] = {}
        for at, chunk in enumerate(chunks_of(data)):
            name = name_of(chunk)
            old = before[at * ID_BYTES : (at + 1) * ID_BYTES]
            if name != ZERO_ID and (name != old or name in doubted):
                found[name] = chunk
        known = await self.have(list(found))
        answers = dict(zip(found, known, strict=True))
        return {name: chunk for name, chunk in found.items() if answers[name] == HAVE_SEND or name in doubted}
