"""Blocks of a chunk that the agent does not name: the service checks what it builds on, and tells the id."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.kit.database import UnitOfWork
from app.migration.replication import ingest
from app.migration.replication.maintenance import check_store
from app.migration.replication.tables import ChunkRow
from app.migration.services import Services
from app.store.backend import Range
from app.store.findings import no_progress
from app.wire.chunks import BLOCK, CHUNK_SIZE, ZERO_ID, chunk_id
from app.wire.codec import Codec, encode
from app.wire.errors import FrameError
from app.wire.frames import BlocksRecord, encode_blocks, encode_chunks, encode_leaves
from app.wire.messages import HAVE_KNOWN, HAVE_SEND, PutResult, Refused
from app.wire.patch import Patch, blocks_digest
from tests.replication.agent_double import AgentDouble, chunk_record, leaves_of
from tests.replication.test_replication_put import agrees

pytestmark = pytest.mark.usefixtures("way")

RANDOM = random.Random("blocks")
BASE = RANDOM.randbytes(CHUNK_SIZE)
NEW = RANDOM.randbytes(2 * BLOCK)
EXTENTS = ((3, 1), (60, 1))
CHANGED = BASE[: 3 * BLOCK] + NEW[:BLOCK] + BASE[4 * BLOCK : 60 * BLOCK] + NEW[BLOCK:] + BASE[61 * BLOCK :]


def blocks_of(base: bytes, patch: Patch, length: int = CHUNK_SIZE) -> BlocksRecord:
    """What an agent sends that has read these blocks alone."""
    codec, packed = encode(patch.data)
    plain = memoryview(patch.data).nbytes
    digest = blocks_digest(base, length, patch)
    return BlocksRecord(digest, base, length, patch.extents, codec, plain, packed)


RECORD = blocks_of(chunk_id(BASE), Patch(EXTENTS, NEW))
REFUSED = (Refused(RECORD.id.hex(), "BLOCKS_REFUSED"),)


async def replicated(services: Services, data: bytes = BASE) -> AgentDouble:
    """An agent whose disk holds this, in a new session."""
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": data})
    await agent.open({"disk-a": len(data)})
    return agent


async def test_the_answer_names_the_chunk_and_the_commit_may_refer_to_it(services: Services) -> None:
    agent = await replicated(services)
    done = await agent.put(encode_blocks([RECORD]))
    assert done.names == {RECORD.id: chunk_id(CHANGED)}
    assert (done.stored, done.refused) == (1, ())
    assert done.stored_bytes < 3 * BLOCK
    await agent.put(encode_leaves(leaves_of(CHANGED)))
    await agent.commit({"disk-a": CHANGED})
    assert await agrees(services, agent)


async def test_the_same_blocks_once_more_are_known_and_named_again(services: Services) -> None:
    agent = await replicated(services)
    first = await agent.put(encode_blocks([RECORD]))
    again = await agent.put(encode_blocks([RECORD, RECORD]))
    assert again.names == first.names
    assert (again.stored, again.known) == (0, 2)


async def test_blocks_that_leave_nothing_but_zeros_give_the_zero_chunk(services: Services) -> None:
    data = BASE[:BLOCK] + bytes(CHUNK_SIZE - BLOCK)
    agent = await replicated(services, data)
    record = blocks_of(chunk_id(data), Patch(((0, 1),), bytes(BLOCK)))
    done = await agent.put(encode_blocks([record]))
    assert done.names == {record.id: ZERO_ID}
    assert done.stored == 0


@pytest.mark.parametrize(
    "false",
    [
        replace(RECORD, data=bytes(2 * BLOCK), codec=Codec.NONE),
        replace(RECORD, extents=((3, 2),)),
        replace(RECORD, id=chunk_id(CHANGED)),
        blocks_of(chunk_id(b"unknown base"), Patch(EXTENTS, NEW)),
        blocks_of(chunk_id(BASE), Patch(EXTENTS, NEW), 2 * CHUNK_SIZE),
    ],
    ids=["other bytes", "other blocks", "no digest", "a strange base", "another length"],
)
async def test_what_is_not_as_it_says_is_refused_by_its_digest(
    services: Services, false: BlocksRecord
) -> None:
    agent = await replicated(services)
    done = await agent.put(encode_blocks([false]))
    assert (done.refused, done.names) == ((Refused(false.id.hex(), "BLOCKS_REFUSED"),), {})
    assert await agent.have([chunk_id(CHANGED)]) == bytes([HAVE_SEND])


async def test_another_servers_chunk_is_no_base(services: Services) -> None:
    await replicated(services)
    thief = await AgentDouble.enrolled(services, "web-2")
    await thief.open({"disk-a": CHUNK_SIZE})
    assert (await thief.put(encode_blocks([RECORD]))).refused == REFUSED


async def test_a_base_that_has_to_be_read_must_not_be_damaged(
    services: Services, without_outboards: None
) -> None:
    """The new chunk's id would be that of what came out, which is not the source's."""
    agent = await replicated(services)
    await agent.spoil(chunk_id(BASE))
    done = await agent.put(encode_blocks([RECORD]))
    assert (done.refused, done.names) == (REFUSED, {})


async def test_what_was_built_by_outboards_on_a_damaged_base_is_found_and_healed(services: Services) -> None:
    """Its id is right, and whoever looks at its bytes sees that they are not."""
    agent = await replicated(services)
    await agent.put(encode_blocks([RECORD]), encode_leaves(leaves_of(CHANGED)))
    await agent.commit({"disk-a": CHANGED})
    await agent.spoil(chunk_id(BASE))
    report = await check_store(services, read_data=True, subset=None, progress=no_progress)
    assert (report.is_whole, report.chunks_damaged) == (False, 2)
    opened = await agent.open({"disk-a": CHUNK_SIZE})
    assert set(opened.resend) == {chunk_id(BASE).hex(), chunk_id(CHANGED).hex()}
    await agent.put_disk(CHANGED)
    await agent.commit({"disk-a": CHANGED})
    assert await agrees(services, agent)


async def test_by_an_outboard_nothing_of_the_base_is_read(
    services: Services, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await replicated(services)
    read = list[int]()
    get_ranges = services.store.backend.get_ranges

    def noted(name: str, ranges: Sequence[Range]) -> Iterator[bytes]:
        read.extend(length for _, length in ranges)
        return get_ranges(name, ranges)

    monkeypatch.setattr(services.store.backend, "get_ranges", noted)
    await agent.put(encode_blocks([RECORD]))
    assert read == [CHUNK_SIZE // 128 if way == "by outboards" else CHUNK_SIZE]


async def test_a_chunk_that_the_store_lost_is_not_replaced_by_a_delta(services: Services) -> None:
    """The delta's base might stand on that very chunk; sent whole it heals the place."""
    agent = await replicated(services)
    await agent.put(encode_chunks([chunk_record(chunk_id(CHANGED), CHANGED)]))

    async def lose(uow: UnitOfWork) -> None:
        row = (await uow.session.scalars(select(ChunkRow).where(ChunkRow.id == chunk_id(CHANGED)))).one()
        row.damaged = True

    await services.database.run(lose)
    done = await agent.put(encode_blocks([RECORD, RECORD]))
    assert (done.refused, done.names, done.stored, done.known) == (REFUSED, {}, 0, 0)
    await agent.put(encode_chunks([chunk_record(chunk_id(CHANGED), CHANGED)]))
    assert await agent.have([chunk_id(CHANGED)]) == bytes([HAVE_KNOWN])
    assert (await agent.put(encode_blocks([RECORD]))).names == {RECORD.id: chunk_id(CHANGED)}


async def test_a_put_names_so_many_chunks_and_no_more(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await replicated(services)
    monkeypatch.setattr(ingest, "MAX_BLOCKS_RECORDS", 2)
    done = await agent.put(encode_blocks([RECORD]), encode_blocks([RECORD]))
    assert isinstance(done, PutResult)
    with pytest.raises(FrameError, match="more than 2 BLOCKS records"):
        await agent.put(encode_blocks([RECORD, RECORD, RECORD]))
