"""The packs that a commit stands on are the same whether the database counts or each row is looked at."""

import random

import pytest
from sqlalchemy import delete, update

from app.migration.replication.chains import packs_below, packs_of_whole
from app.migration.replication.possession import CONDEMNED, owned_chunks
from app.migration.replication.sessions import SessionScope, session_scope
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import ChunkRow, GrantRow, PackRow
from app.migration.services import Services
from app.wire.chunks import BLOCK, CHUNK_SIZE, chunk_id
from app.wire.frames import encode_leaves, encode_patches
from tests.replication.agent_double import AgentDouble, leaves_of
from tests.replication.test_replication_dangling import patch_of

RANDOM = random.Random("chains")
DEPTH = 4


async def a_chain(services: Services) -> tuple[SessionScope, list[bytes]]:
    """A chunk and deltas on deltas, each in a pack of its own; the ids, the lowest first."""
    agent = await AgentDouble.enrolled(services)
    data = RANDOM.randbytes(CHUNK_SIZE)
    await agent.replicate({"disk-a": data})
    ids = [chunk_id(data)]
    for number in range(DEPTH):
        base, data = data, data[: number * BLOCK] + RANDOM.randbytes(BLOCK) + data[(number + 1) * BLOCK :]
        await agent.open({"disk-a": CHUNK_SIZE})
        await agent.put(encode_patches([patch_of(base, data)]), encode_leaves(leaves_of(data)))
        await agent.commit({"disk-a": data})
        ids.append(chunk_id(data))
    async with services.database.reading() as uow:
        return await session_scope(uow, agent.server, agent.session.session_id), ids


async def counted(services: Services, scope: SessionScope, ids: list[bytes]) -> frozenset[bytes] | None:
    """The packs as the database counts them."""
    async with services.database.reading() as uow:
        return await packs_of_whole(uow, scope, ids)


async def test_the_packs_of_a_chain_are_those_of_all_its_chunks(services: Services) -> None:
    scope, ids = await a_chain(services)
    async with services.database.reading() as uow:
        for some in ([ids[0]], [ids[-1]], ids):
            expected = await packs_below(uow, scope, await owned_chunks(uow, scope, some))
            assert await packs_of_whole(uow, scope, some) == expected
            assert len(expected) == (1 if some == [ids[0]] else DEPTH + 1)


@pytest.mark.parametrize("level", [0, 2, DEPTH])
async def test_a_chain_with_a_link_that_is_gone_damaged_or_condemned_is_not_whole(
    services: Services, level: int
) -> None:
    scope, ids = await a_chain(services)
    lost = ChunkRow.id == ids[level]
    async with services.database.reading() as uow:
        pack = (await owned_chunks(uow, scope, [ids[level]]))[ids[level]].pack
    condemn = update(PackRow).where(PackRow.name == pack)
    for fault, mend in (
        (
            update(ChunkRow).where(lost).values(damaged=True),
            update(ChunkRow).where(lost).values(damaged=False),
        ),
        (condemn.values(state=CONDEMNED), condemn.values(state="live")),
        (delete(ChunkRow).where(lost), None),
    ):
        assert await counted(services, scope, ids[-1:]) is not None
        async with services.database.begin() as uow:
            await uow.session.execute(fault)
        assert await counted(services, scope, ids[-1:]) is None
        assert (await counted(services, scope, ids[:1]) is None) == (level == 0)
        if mend is not None:
            async with services.database.begin() as uow:
                await uow.session.execute(mend)


async def test_a_chunk_of_another_server_is_not_whole_until_it_is_granted(services: Services) -> None:
    scope, ids = await a_chain(services)
    other = await AgentDouble.enrolled(services, "web-2")
    await other.open({"disk-a": CHUNK_SIZE})
    async with services.database.reading() as uow:
        stranger = await session_scope(uow, other.server, other.session.session_id)
    assert await counted(services, stranger, ids[-1:]) is None
    rows = [{"server_id": other.server, "chunk_id": name} for name in ids[-1:]]
    async with services.database.begin() as uow:
        assert await insert_ignoring(uow, GrantRow, rows) == 1
    assert await counted(services, stranger, ids[-1:]) == await counted(services, scope, ids)


async def test_rows_that_were_there_are_not_counted_as_inserted(services: Services) -> None:
    rows = [{"server_id": "srv-1", "chunk_id": bytes([number]) * 32} for number in range(5)]
    async with services.database.begin() as uow:
        assert await insert_ignoring(uow, GrantRow, rows[:3]) == 3
        assert await insert_ignoring(uow, GrantRow, rows) == 2
        assert await insert_ignoring(uow, GrantRow, []) == 0
