"""The packs of one put: one is hashed while the one before it is written, and written while that is recorded.
Nothing outlives a put."""

import asyncio
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from app.kit.database import UnitOfWork
from app.kit.errors import StoreFull
from app.migration.replication import packing
from app.migration.replication.packing import PackStream
from app.migration.replication.packs import record_pack
from app.migration.replication.received import Stored
from app.migration.replication.sessions import SessionScope, session_scope
from app.migration.services import Services
from app.store.objects import ObjectStore
from app.store.pack import PackBuilder, SealedPack
from app.wire.chunks import KIB, chunk_id
from app.wire.codec import Codec
from tests.replication.agent_double import AgentDouble

SOURCE = random.Random(29)


@dataclass
class Records:
    """Packs that are durable, whose recording began, and ended; it goes on while it `may_go_on`."""

    written: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    begun: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    ended: list[bytes] = field(default_factory=list)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def record(self, uow: UnitOfWork, scope: SessionScope, pack: SealedPack) -> None:
        """In the place of `record_pack`."""
        assert not pack.parts, "its bytes are let go"
        self.begun.put_nowait(pack.name)
        await self.may_go_on.wait()
        await record_pack(uow, scope, pack)
        self.ended.append(pack.name)


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> Iterator[Records]:
    """Every chunk of these tests fills a pack."""
    made = Records()
    write = ObjectStore.write_pack

    def note(store: ObjectStore, pack: SealedPack) -> None:
        write(store, pack)
        made.written.release()

    monkeypatch.setattr(ObjectStore, "write_pack", note)
    monkeypatch.setattr(packing, "record_pack", made.record)
    monkeypatch.setattr(packing, "PackBuilder", lambda project, server: PackBuilder(project, server, KIB))
    yield made
    made.may_go_on.set()


async def stream(services: Services) -> PackStream:
    """The packs of a put of a new server."""
    agent = await AgentDouble.enrolled(services)
    opened = await agent.open({"disk-a": KIB})
    async with services.database.reading() as uow:
        scope = await session_scope(uow, agent.server, opened.session_id)
    return PackStream(services, scope)


def chunk() -> Stored:
    """A chunk of noise."""
    data = SOURCE.randbytes(2 * KIB)
    return Stored(chunk_id(data), Codec.NONE, len(data), data)


async def test_a_pack_is_written_while_the_one_before_is_recorded(
    services: Services, records: Records
) -> None:
    packs = await stream(services)
    await packs.add(chunk())
    await asyncio.wait_for(records.begun.get(), 20)
    await packs.add(chunk())
    for _ in range(2):
        assert await asyncio.to_thread(records.written.acquire, timeout=20)
    assert (len(records.ended), packs.stored_bytes) == (0, 0)
    records.may_go_on.set()
    await packs.finish()
    assert len(records.ended) == 2


async def test_a_pack_is_hashed_while_the_one_before_is_written(
    services: Services, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, may_write, records_it = threading.Semaphore(0), threading.Event(), ObjectStore.write_pack
    seal = PackBuilder.seal

    def note(builder: PackBuilder) -> SealedPack:
        pack = seal(builder)
        sealed.release()
        return pack

    def write_later(store: ObjectStore, pack: SealedPack) -> None:
        assert may_write.wait(20)
        records_it(store, pack)

    monkeypatch.setattr(PackBuilder, "seal", note)
    monkeypatch.setattr(ObjectStore, "write_pack", write_later)
    packs = await stream(services)
    await packs.add(chunk())
    adding = asyncio.create_task(packs.add(chunk()))
    for _ in range(2):
        assert await asyncio.to_thread(sealed.acquire, timeout=20)
    assert not adding.done()
    records.may_go_on.set()
    may_write.set()
    await adding
    await packs.finish()
    assert len(records.ended) == 2


async def test_what_broke_off_leaves_nothing_under_way(services: Services, records: Records) -> None:
    packs = await stream(services)
    await packs.add(chunk())
    await asyncio.wait_for(records.begun.get(), 20)
    await packs.add(chunk())
    ending = asyncio.create_task(packs.abandon())
    await asyncio.sleep(0.1)
    assert not ending.done()
    records.may_go_on.set()
    await ending
    assert len(records.ended) == 2


async def test_a_pack_that_could_not_be_recorded_fails_the_put(
    services: Services, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(packing, "record_pack", refuse)
    packs = await stream(services)
    await packs.add(chunk())
    with pytest.raises(StoreFull):
        await packs.finish()
    await packs.abandon()
    assert packs.stored_bytes == 0
