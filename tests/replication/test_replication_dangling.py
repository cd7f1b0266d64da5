"""A delta record whose base was collected is no stored chunk: the agent is asked to send it again."""

import random
from datetime import timedelta

import pytest
from sqlalchemy import delete

from app.kit.clock import ManualClock
from app.migration.replication.errors import MissingChunks
from app.migration.replication.maintenance import collect_garbage
from app.migration.replication.tables import ChunkRow
from app.migration.services import Services
from app.wire.chunks import BLOCK, CHUNK_SIZE, chunk_id
from app.wire.codec import encode
from app.wire.frames import PatchRecord, encode_chunks, encode_leaves, encode_patches
from app.wire.messages import HAVE_SEND
from app.wire.patch import make_patch, signatures
from tests.replication.agent_double import AgentDouble, chunk_record, chunk_records, leaves_of

RANDOM = random.Random("dangling")
BASE, OTHER = RANDOM.randbytes(CHUNK_SIZE), RANDOM.randbytes(CHUNK_SIZE)
CHANGED = RANDOM.randbytes(BLOCK) + BASE[BLOCK:]


def patch_of(base: bytes, data: bytes) -> PatchRecord:
    """The change from one chunk to another."""
    patch = make_patch(data, signatures(base))
    assert patch is not None
    codec, packed = encode(patch.data)
    length = memoryview(patch.data).nbytes
    return PatchRecord(chunk_id(data), chunk_id(base), len(data), patch.extents, codec, length, packed)


async def test_a_chunk_whose_delta_outlived_its_base_can_be_committed_again(
    services: Services, clock: ManualClock
) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": BASE})
    both = CHANGED + OTHER
    await agent.open({"disk-a": len(both)})
    await agent.put(
        encode_patches([patch_of(BASE, CHANGED)]),
        encode_chunks([chunk_record(chunk_id(OTHER), OTHER)]),
        encode_leaves(leaves_of(both)),
    )
    await agent.commit({"disk-a": both})
    await agent.replicate({"disk-a": OTHER})
    await _let_the_old_go(services, clock, agent)
    await agent.open({"disk-a": len(both)})
    assert await agent.have([chunk_id(BASE), chunk_id(CHANGED)]) == bytes([HAVE_SEND, HAVE_SEND])
    await agent.put(encode_chunks(chunk_records(both)), encode_leaves(leaves_of(both)))
    assert (await agent.commit({"disk-a": both})).disks


async def _let_the_old_go(services: Services, clock: ManualClock, agent: AgentDouble) -> None:
    """Time passes: only the newest checkpoint is kept, and what it does not need is collected."""
    clock.advance(timedelta(days=30))
    await agent.replicate({"disk-a": OTHER})
    assert (await collect_garbage(services)).condemned_packs == 1


async def test_a_delta_whose_base_went_in_that_very_moment_is_asked_for_and_stored_whole(
    services: Services,
) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": BASE})
    await agent.open({"disk-a": len(CHANGED)})
    await agent.put(encode_patches([patch_of(BASE, CHANGED)]), encode_leaves(leaves_of(CHANGED)))
    async with services.database.begin() as uow:
        await uow.session.execute(delete(ChunkRow).where(ChunkRow.id == chunk_id(BASE)))
    with pytest.raises(MissingChunks) as refusal:
        await agent.commit({"disk-a": CHANGED})
    assert refusal.value.extra["ids"] == [chunk_id(CHANGED).hex()]
    opened = await agent.open({"disk-a": len(CHANGED)})
    assert opened.resend == (chunk_id(CHANGED).hex(),)
    await agent.put_disk(CHANGED)
    assert (await agent.commit({"disk-a": CHANGED})).number == 2
