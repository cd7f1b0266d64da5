"""A put stores what hashes to its id, grants what was proved, and refuses everything else by name."""

import random
from dataclasses import replace

import pytest

from app.contract.resources.checkpoint import VerifyResult
from app.contract.resources.project import ProjectCreate
from app.contract.words import DedupScope
from app.kit.errors import Invalid
from app.migration.catalogue.service import get_checkpoint
from app.migration.projects.service import create_project
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.patching import CHUNKS, Patching
from app.migration.replication.service import verify_stream
from app.migration.replication.signing import signatures_of
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.wire.chunks import BLOCK, CHUNK_SIZE, chunk_id, possession_proof
from app.wire.codec import Codec, encode
from app.wire.errors import CodecError
from app.wire.frames import (
    ChunkRecord,
    PatchRecord,
    ProofRecord,
    encode_chunks,
    encode_leaves,
    encode_patches,
    encode_proofs,
)
from app.wire.messages import HAVE_KNOWN, HAVE_PROVE, HAVE_SEND, Refused
from app.wire.patch import make_patch, signatures
from tests.replication.agent_double import AgentDouble, chunk_record, chunk_records, leaves_of

pytestmark = pytest.mark.usefixtures("way")

RANDOM = random.Random(7)
DATA = RANDOM.randbytes(3 * CHUNK_SIZE)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    """`data` with `new` written at `at`."""
    return data[:at] + new + data[at + len(new) :]


def patch_record(base: bytes, data: bytes) -> PatchRecord:
    """The change from one chunk to another as a record."""
    patch = make_patch(data, signatures(base))
    assert patch is not None
    codec, packed = encode(patch.data)
    length = memoryview(patch.data).nbytes
    return PatchRecord(chunk_id(data), chunk_id(base), len(data), patch.extents, codec, length, packed)


async def test_a_chunk_that_does_not_hash_to_its_id_is_refused(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": CHUNK_SIZE})
    false = chunk_record(chunk_id(b"something else"), DATA[:CHUNK_SIZE])
    with pytest.raises(Invalid) as refusal:
        await agent.put(encode_chunks([false]))
    assert refusal.value.code == "HASH_MISMATCH"
    assert await agent.have([false.id]) == bytes([HAVE_SEND])


async def test_a_decompression_bomb_is_refused_before_it_opens(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": CHUNK_SIZE})
    _, packed = encode(bytes(64 * 1024 * 1024))
    bomb = ChunkRecord(chunk_id(b"x"), Codec.ZSTD, CHUNK_SIZE, packed)
    with pytest.raises(CodecError):
        await agent.put(encode_chunks([bomb]))


async def test_what_was_put_is_known_also_to_the_next_session(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": len(DATA)})
    first = await agent.put_disk(DATA)
    await agent.open({"disk-a": len(DATA)})
    ids = [record.id for record in chunk_records(DATA)]
    assert await agent.have([*ids, chunk_id(b"new")]) == bytes([HAVE_KNOWN] * 3 + [HAVE_SEND])
    again = await agent.put_disk(DATA)
    assert (first.stored, again.stored, again.known) == (3, 0, 3)


async def test_a_patch_is_stored_as_a_delta_and_reads_back_whole(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    opened = await agent.open({"disk-a": len(DATA)})
    assert opened.head
    changed = patched(DATA, 2 * BLOCK, RANDOM.randbytes(BLOCK))
    record = patch_record(DATA[:CHUNK_SIZE], changed[:CHUNK_SIZE])
    done = await agent.put(encode_patches([record]), encode_leaves(leaves_of(changed)))
    assert done.stored == 1
    assert done.stored_bytes < 3 * BLOCK
    await agent.commit({"disk-a": changed})
    assert await agrees(services, agent)


async def test_many_patches_on_one_base_are_rebuilt_a_few_at_a_time(
    services: Services, without_outboards: None
) -> None:
    """Each may come out whole: a thousand small records of one frame would be gigabytes of memory."""
    agent = await AgentDouble.enrolled(services)
    base = DATA[:CHUNK_SIZE]
    await agent.replicate({"disk-a": base})
    await agent.open({"disk-a": len(base)})
    changed = [patched(base, at * BLOCK, RANDOM.randbytes(BLOCK)) for at in (0, 1, 2, 3, 4) for _ in range(9)]
    rebuilding = Patching(services, await agent.scope()).rebuild(
        [patch_record(base, data) for data in changed]
    )
    done = [rebuilt async for rebuilt in rebuilding]
    assert max(len(rebuilt.chunks) + len(rebuilt.refused) for rebuilt in done) == CHUNKS
    assert {chunk.id for rebuilt in done for chunk in rebuilt.chunks} == {chunk_id(data) for data in changed}
    assert not any(rebuilt.refused for rebuilt in done)


async def test_a_long_chain_of_patches_is_cut_and_reads_back(services: Services, way: str) -> None:
    """At its end the chunk comes out whole, or by outboards as one patch on the whole chunk at the bottom."""
    agent = await AgentDouble.enrolled(services)
    data = DATA[:CHUNK_SIZE]
    await agent.replicate({"disk-a": data})
    ids = [chunk_id(data)]
    for number in range(12):
        changed = patched(data, number * BLOCK, RANDOM.randbytes(BLOCK))
        await agent.open({"disk-a": len(data)})
        await agent.put(encode_patches([patch_record(data, changed)]), encode_leaves(leaves_of(changed)))
        await agent.commit({"disk-a": changed})
        data = changed
        ids.append(chunk_id(data))
    assert await agrees(services, agent)
    found = await DatabaseIndex(services.database).locate((await agent.scope()).project_id, ids)
    is_quick = way == "by outboards"
    assert [found[name].depth for name in ids] == [*range(9), *(range(1, 5) if is_quick else range(4))]
    assert found[ids[9]].base == (ids[0] if is_quick else None)
    assert found[ids[9]].stored_length < (10 * BLOCK if is_quick else 2 * CHUNK_SIZE)


async def test_a_chain_that_changed_half_of_its_chunk_comes_out_whole(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    data = DATA[:CHUNK_SIZE]
    await agent.replicate({"disk-a": data})
    for number in range(9):
        changed = patched(data, 5 * number * BLOCK, RANDOM.randbytes(5 * BLOCK))
        await agent.open({"disk-a": len(data)})
        await agent.put(encode_patches([patch_record(data, changed)]), encode_leaves(leaves_of(changed)))
        await agent.commit({"disk-a": changed})
        data = changed
    assert await agrees(services, agent)
    last = chunk_id(data)
    found = await DatabaseIndex(services.database).locate((await agent.scope()).project_id, [last])
    assert (found[last].depth, found[last].base) == (0, None)


async def agrees(services: Services, agent: AgentDouble) -> bool:
    """Whether all stored bytes of the head hash to its roots."""
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, agent.server, "latest")
    *_, result = [event async for event in verify_stream(services, head)]
    assert isinstance(result, VerifyResult)
    return result.agrees


async def test_a_patch_that_gives_another_chunk_is_refused_by_its_id(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    record = patch_record(DATA[:CHUNK_SIZE], patched(DATA, 0, b"new")[:CHUNK_SIZE])
    false = replace(record, id=chunk_id(b"another"))
    stranger = replace(record, base=chunk_id(b"unknown base"))
    done = await agent.put(encode_patches([false, stranger]))
    assert done.refused == (
        Refused(false.id.hex(), "PATCH_MISMATCH"),
        Refused(stranger.id.hex(), "BASE_MISSING"),
    )


async def test_many_patches_some_on_one_base_come_out_in_one_put(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    base = DATA[:CHUNK_SIZE]
    made = [patched(base, number % 60 * BLOCK, RANDOM.randbytes(BLOCK)) for number in range(300)]
    records = [patch_record(base, each) for each in made]
    stranger = replace(records[0], id=chunk_id(b"another"), base=chunk_id(b"unknown base"))
    frames = [encode_patches(records[at : at + 50]) for at in range(0, 300, 50)]
    done = await agent.put(*frames, encode_patches([stranger]))
    assert (done.stored, done.refused) == (300, (Refused(stranger.id.hex(), "BASE_MISSING"),))
    assert await agent.have([chunk_id(each) for each in made]) == bytes([HAVE_KNOWN] * 300)


async def test_a_patch_on_a_base_that_is_damaged_is_refused_for_its_base(
    services: Services, without_outboards: None
) -> None:
    """Not for the patch: the agent would take that for a write that its tracker missed."""
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    base = DATA[:CHUNK_SIZE]
    await agent.spoil(chunk_id(base))
    record = patch_record(base, patched(base, 0, b"new"))
    done = await agent.put(encode_patches([record]))
    assert done.refused == (Refused(record.id.hex(), "BASE_MISSING"),)


async def test_a_second_server_proves_that_it_holds_the_bytes(services: Services) -> None:
    await (await AgentDouble.enrolled(services, "web-1")).replicate({"disk-a": DATA})
    second = await AgentDouble.enrolled(services, "web-2")
    opened = await second.open({"disk-a": len(DATA)})
    records = chunk_records(DATA)
    assert await second.have([record.id for record in records]) == bytes([HAVE_PROVE] * 3)
    key = bytes.fromhex(opened.proof_key)
    proofs = [
        ProofRecord(record.id, possession_proof(DATA[at * CHUNK_SIZE : (at + 1) * CHUNK_SIZE], key))
        for at, record in enumerate(records)
    ]
    done = await second.put(encode_proofs(proofs), encode_leaves(leaves_of(DATA)))
    assert (done.stored, done.known, done.refused) == (0, 3, ())
    assert (await second.commit({"disk-a": DATA})).number == 1


async def test_a_false_proof_grants_nothing(services: Services) -> None:
    await (await AgentDouble.enrolled(services, "web-1")).replicate({"disk-a": DATA})
    thief = await AgentDouble.enrolled(services, "web-2")
    await thief.open({"disk-a": len(DATA)})
    wanted = chunk_records(DATA)[0].id
    done = await thief.put(encode_proofs([ProofRecord(wanted, possession_proof(b"guess", bytes(32)))]))
    assert done.refused == (Refused(wanted.hex(), "PROOF_REFUSED"),)
    assert await thief.have([wanted]) == bytes([HAVE_PROVE])


async def test_a_project_that_shares_nothing_lets_every_server_send(services: Services) -> None:
    async with services.database.begin() as uow:
        project = await create_project(uow, ProjectCreate(name="apart", dedup_scope=DedupScope.SERVER))
    first = await AgentDouble.enrolled(services, "web-1")
    second = await AgentDouble.enrolled(services, "web-2")
    async with services.database.begin() as uow:
        for agent in (first, second):
            (await uow.session.get_one(ServerRow, agent.server)).project_id = project.id
    await first.replicate({"disk-a": DATA})
    await second.open({"disk-a": len(DATA)})
    assert await second.have([record.id for record in chunk_records(DATA)]) == bytes([HAVE_SEND] * 3)


async def test_signatures_are_given_for_own_chunks_only(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    own = chunk_records(DATA)[0].id
    answer = await signatures_of(services, await agent.scope(), [own, chunk_id(b"strange")])
    expected = signatures(DATA[:CHUNK_SIZE])
    assert answer == len(expected).to_bytes(4, "big") + expected + bytes(4)


async def test_a_damaged_chunk_has_no_signatures_and_the_others_have_theirs(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": DATA})
    await agent.open({"disk-a": len(DATA)})
    spoilt, good, *_ = (record.id for record in chunk_records(DATA))
    await agent.spoil(spoilt)
    answer = await signatures_of(services, await agent.scope(), [spoilt, good])
    expected = signatures(DATA[CHUNK_SIZE : 2 * CHUNK_SIZE])
    assert answer == bytes(4) + len(expected).to_bytes(4, "big") + expected
