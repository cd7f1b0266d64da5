"""Garbage collection on the real database: what is reachable stays, the rest goes a grace period later."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, update

from app.kit.clock import ManualClock
from app.kit.database import Base
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.errors import MissingChunks
from app.migration.replication.maintenance import check_store, collect_garbage, rebuild_database
from app.migration.replication.tables import CheckpointRow, ChunkRow, PackRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.store.findings import no_progress
from app.wire.chunks import CHUNK_SIZE
from app.wire.frames import encode_chunks, encode_leaves
from app.wire.messages import HAVE_SEND
from tests.replication.agent_double import AgentDouble, chunk_records, leaves_of, root_of
from tests.replication.conftest import GRACE

RANDOM = random.Random(11)
OLD, NEW = RANDOM.randbytes(3 * CHUNK_SIZE), RANDOM.randbytes(3 * CHUNK_SIZE)


async def is_clean(services: Services) -> bool:
    """Whether every byte of the store agrees with the database."""
    report = await check_store(services, read_data=True, subset=None, progress=no_progress)
    return not report.findings


async def test_retained_checkpoints_survive_any_number_of_collections(
    services: Services, clock: ManualClock
) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": OLD})
    for _ in range(3):
        clock.advance(2 * GRACE)
        await collect_garbage(services)
    assert await is_clean(services)


@pytest.mark.parametrize(
    "jumps", [(-9999, -9999, -9999), (0, 9999, 9999), (9999, 9999, 9999), (-9999, 0, 9999)], ids=str
)
async def test_a_sources_clock_that_jumps_makes_retention_drop_nothing_else(
    services: Services, clock: ManualClock, jumps: tuple[int, ...]
) -> None:
    """Days by which it is wrong. A clock that was set back states one time until it is past that."""
    agent = await AgentDouble.enrolled(services)
    made = list[str]()
    for minutes, days in zip((0, 120, 5), jumps, strict=True):
        clock.advance(timedelta(minutes=minutes))
        data = NEW if len(made) == 1 else OLD
        await agent.open({"disk-a": len(data)})
        await agent.put_disk(data)
        message = agent.message({"disk-a": data})
        time = (clock.now() + timedelta(days=days)).isoformat()
        made.append((await agent.send(replace(message, source_time=time))).checkpoint_id)
    await collect_garbage(services)
    assert await kept(services) == set(made), "one of an hour long past, and all of the last hour"
    clock.advance(timedelta(days=1, minutes=-30))
    await collect_garbage(services)
    assert await kept(services) == set(made[2:]), "the newest of the hour, and of the day"


async def kept(services: Services) -> set[str]:
    """The checkpoints that there are."""
    async with services.database.reading() as uow:
        return set(await uow.session.scalars(select(CheckpointRow.id)))


async def test_what_an_abandoned_session_put_goes_after_the_grace(
    services: Services, clock: ManualClock
) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": OLD})
    await agent.open({"disk-a": len(NEW)})
    await agent.put_disk(NEW)
    clock.advance(timedelta(days=2))
    first = await collect_garbage(services)
    clock.advance(2 * GRACE)
    second = await collect_garbage(services)
    assert (first.condemned_packs, second.deleted_packs) == (1, 1)
    assert await is_clean(services)


async def test_an_open_session_keeps_what_it_put(services: Services, clock: ManualClock) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": len(NEW)})
    await agent.put_disk(NEW)
    clock.advance(3 * GRACE)
    await collect_garbage(services)
    assert (await agent.commit({"disk-a": NEW})).number == 1


async def test_a_commit_cannot_refer_to_what_was_condemned(services: Services, clock: ManualClock) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.open({"disk-a": len(NEW)})
    await agent.put_disk(NEW)
    await agent.open({"disk-a": len(NEW)})
    clock.advance(3 * GRACE)
    assert (await collect_garbage(services)).condemned_packs == 1
    await agent.put(encode_leaves(leaves_of(NEW)))
    with pytest.raises(MissingChunks):
        await agent.commit({"disk-a": NEW})
    await agent.put(encode_chunks(chunk_records(NEW)))
    assert (await agent.commit({"disk-a": NEW})).number == 1
    clock.advance(3 * GRACE)
    await collect_garbage(services)
    assert await is_clean(services)


async def test_damaged_chunks_are_sent_again_and_healed(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": OLD})
    pack = next(services.store.packs())
    place = services.settings.store.path / pack.info.name
    with place.open("r+b") as file:
        file.seek(CHUNK_SIZE)
        file.write(b"flipped")
    assert not await is_clean(services)
    opened = await agent.open({"disk-a": len(OLD)})
    damaged = [bytes.fromhex(name) for name in opened.resend]
    assert len(damaged) == 1
    assert await agent.have(damaged) == bytes([HAVE_SEND])
    await agent.put_disk(OLD)
    await agent.commit({"disk-a": OLD})
    async with services.database.reading() as uow:
        assert (await uow.session.get_one(PackRow, pack.name)).state == "live"


async def test_a_chunk_whose_row_was_lost_is_sent_again(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": OLD})
    lost = chunk_records(OLD)[0].id
    async with services.database.begin() as uow:
        await uow.session.execute(delete(ChunkRow).where(ChunkRow.id == lost))
    assert not await is_clean(services)
    opened = await agent.open({"disk-a": len(OLD)})
    assert opened.resend == (lost.hex(),)
    await agent.put_disk(OLD)
    await agent.commit({"disk-a": OLD})
    assert await is_clean(services)


async def test_the_database_can_be_rebuilt_from_the_store(services: Services) -> None:
    agent = await AgentDouble.enrolled(services)
    await agent.replicate({"disk-a": OLD})
    await agent.replicate({"disk-a": NEW})
    await _empty(services)
    report = await rebuild_database(services)
    assert (report.confirmed, report.unconfirmed, report.damaged) == (2, 0, [])
    async with services.database.reading() as uow:
        head = await get_checkpoint(uow, agent.server, "latest")
    assert (head.number, head.disks[0].root) == (2, root_of(NEW).hash.hex())
    assert await is_clean(services)


async def _empty(services: Services) -> None:
    """Lose all rows, as an operator who lost the database does."""
    async with services.database.begin() as uow:
        await uow.session.execute(update(ServerRow).values(head_checkpoint_id=None))
        for table in reversed(Base.metadata.sorted_tables):
            await uow.session.execute(delete(table))
