"""A small disk that changes by chance, and a whole session that replicates it."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from app.wire.chunks import BLOCK, CHUNK_SIZE, ZERO_ID, name_of
from app.wire.codec import encode
from app.wire.frames import PatchRecord, encode_patches
from app.wire.messages import Committed
from app.wire.patch import make_patch, signatures
from tests.faults.store.store_services import Acknowledged
from tests.replication.agent_double import AgentDouble, chunks_of

SLOTS = 6
VARIANTS = 5
TAIL_BYTES = 3 * BLOCK
KEY = "disk-a"


@dataclass
class Source:
    """The disk that is replicated: slots that change by chance, sometimes back to what they were."""

    chance: random.Random
    slots: list[int] = field(default_factory=lambda: [0] * SLOTS)
    edits: dict[int, int] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The disk's bytes; slot 0 stays zero, the last chunk is short."""
        return b"".join(map(self._chunk, range(SLOTS))) + random.Random("tail").randbytes(TAIL_BYTES)

    def _chunk(self, slot: int) -> bytes:
        variant = self.slots[slot]
        if not variant:
            return bytes(CHUNK_SIZE)
        plain = random.Random(f"{slot}/{variant}").randbytes(CHUNK_SIZE)
        edit = self.edits.get(slot)
        return plain if edit is None else _edited(plain, edit)

    def change(self) -> None:
        """Other content in some slots, or small edits."""
        for slot in self.chance.sample(range(1, SLOTS), self.chance.randint(1, 3)):
            if self.chance.random() < 0.4:
                self.edits[slot] = self.chance.randrange(1 << 16)
            else:
                self.edits.pop(slot, None)
                others = [variant for variant in range(VARIANTS) if variant != self.slots[slot]]
                self.slots[slot] = self.chance.choice(others)


def three_contents(chance: random.Random | None = None) -> list[bytes]:
    """The disk at three times: by chance, or such that every kind of change happens.

    These are: small edits, whole new chunks, chunks that become zero, and chunks that come back.
    """
    if chance is None:
        first = Source(random.Random(0), [0, 1, 1, 1, 1, 1])
        second = Source(random.Random(0), [0, 1, 2, 2, 0, 1], {1: 7})
        third = Source(random.Random(0), [0, 2, 1, 2, 0, 1], {3: 9})
        return [first.data, second.data, third.data]
    source, found = Source(chance), []
    for _ in range(3):
        source.change()
        found.append(source.data)
    return found


def _edited(plain: bytes, edit: int) -> bytes:
    at = edit % (CHUNK_SIZE // BLOCK) * BLOCK
    return plain[:at] + random.Random(edit).randbytes(BLOCK) + plain[at + BLOCK :]


def patches(before: bytes, after: bytes) -> Iterable[PatchRecord]:
    """The chunks that are small changes of the chunk that was at their place."""
    found: dict[bytes, PatchRecord] = {}
    for old, new in zip(chunks_of(before), chunks_of(after), strict=True):
        base, name = name_of(old), name_of(new)
        patch = None if ZERO_ID in (base, name) or base == name else make_patch(new, signatures(old))
        if patch is not None and patch.extents:
            codec, packed = encode(patch.data)
            length = memoryview(patch.data).nbytes
            found[name] = PatchRecord(name, base, len(new), patch.extents, codec, length, packed)
    return found.values()


async def replicate(agent: AgentDouble, data: bytes, before: bytes | None = None) -> Acknowledged:
    """A whole session: open, put small changes as patches and the rest whole, commit."""
    await agent.open({KEY: len(data)})
    small = [] if before is None else list(patches(before, data))
    if small:
        await agent.put(encode_patches(small))
    await agent.put_disk(data)
    return acknowledged(await agent.commit({KEY: data}), agent.services.clock.now())


def acknowledged(committed: Committed, made_at: datetime) -> Acknowledged:
    """What the answer to a commit promises."""
    return Acknowledged(committed.checkpoint_id, committed.number, committed.disks[0].root, made_at)
