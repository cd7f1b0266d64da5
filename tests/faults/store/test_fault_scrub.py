"""Scrubbing finds a flipped bit by itself and the next session heals it; one process reads at a time."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.contract.resources.scrub import Scrub, ScrubRound
from app.kit.bus import InProcessBus
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.settings import load_settings
from app.migration.replication.maintenance import collect_garbage
from app.migration.scrub.service import scrub_view
from app.migration.scrub.work import Scrubber
from app.migration.services import Services
from app.store.findings import CheckReport, FindingKind
from app.store.folder import FolderBackend
from app.store.index import PackInfo
from app.store.layout import pack_key
from app.store.objects import ObjectStore
from app.wire.chunks import CHUNK_SIZE
from tests.faults.store.rescan_agent import RescanAgent
from tests.faults.store.sample_disk import KEY
from tests.faults.store.store_services import ClockedCalls, head_differs

SOURCE = random.Random("scrub")
PACKS = 5
DISK = [SOURCE.randbytes(2 * CHUNK_SIZE) for _ in range(PACKS)]


@dataclass
class Scrubbed:
    """Services with a replicated server whose chunks lie in several packs."""

    services: Services
    clock: ManualClock
    folder: Path
    agent: RescanAgent

    async def round(self, *scrubbers: Scrubber) -> int:
        """Step until the round is over; how many steps read nothing for another process had the turn."""
        idle = 0
        while True:
            for scrubber in scrubbers:
                before = await self.bytes_read()
                await scrubber.step()
                idle += await self.bytes_read() == before
            if (await self.view()).current is None:
                return idle

    async def view(self) -> Scrub:
        """How scrubbing stands."""
        async with self.services.database.reading() as uow:
            return await scrub_view(uow, self.services.settings.store)

    async def last(self) -> ScrubRound:
        """The newest round that is over."""
        found = (await self.view()).last
        assert found is not None
        return found

    async def current(self) -> ScrubRound:
        """The round that runs."""
        found = (await self.view()).current
        assert found is not None
        return found

    async def bytes_read(self) -> int:
        found = await self.view()
        newest = found.current or found.last
        return newest.bytes_read if newest else 0

    def flip(self, number: int = 0) -> bytes:
        """Flip a bit in the records of one pack; its name."""
        name = sorted(pack.name for pack in self.services.store.packs())[number]
        file = self.folder / pack_key(name)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 8
        file.chmod(0o644)
        file.write_bytes(data)
        return name

    @property
    def stored(self) -> int:
        """Bytes of all packs."""
        return sum((self.folder / pack_key(pack.name)).stat().st_size for pack in self.services.store.packs())


@pytest.fixture
async def scrubbed(database: Database, clock: ManualClock, tmp_path: Path) -> AsyncIterator[Scrubbed]:
    settings = load_settings({"G2C_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)})
    backend = FolderBackend(tmp_path / "store", 0, ClockedCalls(clock))
    bus = InProcessBus()
    store = ObjectStore(backend, clock=clock, grace=timedelta(minutes=30))
    services = Services(settings, clock, database, bus, store)
    agent = RescanAgent(services, (await RescanAgent.enrolled(services)).server)
    for count in range(1, PACKS + 1):
        await agent.rescan(b"".join(DISK[:count]))
        clock.advance(timedelta(seconds=10))
    yield Scrubbed(services, clock, tmp_path / "store", agent)
    await bus.close()
    backend.close()


@pytest.fixture
def one_pack_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.migration.scrub.work.STEP_PACKS", 1)


async def test_a_round_reads_every_pack_once_and_the_next_one_is_due_in_its_time(scrubbed: Scrubbed) -> None:
    scrubber = Scrubber(scrubbed.services)
    await scrubbed.round(scrubber)
    last = await scrubbed.last()
    assert (last.packs, last.bytes_read) == (PACKS, scrubbed.stored)
    assert (last.finding_count, last.chunks_damaged, last.share) == (0, 0, 1.0)
    await scrubber.step()
    assert (await scrubbed.view()).current is None
    scrubbed.clock.advance(timedelta(days=30))
    await scrubber.step()
    assert (await scrubbed.current()).packs == PACKS


async def test_a_flipped_bit_is_found_marked_and_healed_by_the_next_session(scrubbed: Scrubbed) -> None:
    name = scrubbed.flip(2)
    await scrubbed.round(Scrubber(scrubbed.services))
    last = await scrubbed.last()
    assert [(item.kind, item.object) for item in last.findings] == [(FindingKind.PACK_DAMAGED, name.hex())]
    assert last.chunks_damaged == 1
    await scrubbed.agent.rescan(b"".join(DISK))
    assert scrubbed.agent.sent == 1
    assert await head_differs(scrubbed.services, scrubbed.agent.server) == []
    scrubbed.clock.advance(timedelta(days=30))
    await scrubbed.round(Scrubber(scrubbed.services))
    last = await scrubbed.last()
    assert last.chunks_damaged == 0
    assert {item.kind for item in last.findings} <= {
        FindingKind.PACK_DAMAGED,
        FindingKind.PACK_DAMAGED_UNUSED,
    }


async def test_a_lost_pack_is_found(scrubbed: Scrubbed) -> None:
    (first, *_) = sorted(pack.name for pack in scrubbed.services.store.packs())
    (scrubbed.folder / pack_key(first)).unlink()
    await scrubbed.round(Scrubber(scrubbed.services))
    last = await scrubbed.last()
    assert [(item.kind, item.chunks) for item in last.findings] == [(FindingKind.PACK_MISSING, 2)]
    opened = await scrubbed.agent.open({KEY: len(b"".join(DISK))})
    assert len(opened.resend) == 2


async def test_two_processes_do_not_scrub_at_once(scrubbed: Scrubbed, one_pack_a_step: None) -> None:
    one, other = Scrubber(scrubbed.services), Scrubber(scrubbed.services)
    idle = await scrubbed.round(one, other)
    last = await scrubbed.last()
    assert (last.packs, last.bytes_read) == (PACKS, scrubbed.stored)
    assert idle >= PACKS


async def test_steps_at_the_same_moment_read_each_pack_once(
    scrubbed: Scrubbed, one_pack_a_step: None
) -> None:
    scrubbers = [Scrubber(scrubbed.services) for _ in range(4)]
    while (await scrubbed.view()).last is None:
        await asyncio.gather(*(scrubber.step() for scrubber in scrubbers))
    assert (await scrubbed.last()).packs == PACKS


async def test_a_restarted_process_reads_on_where_the_last_one_was(
    scrubbed: Scrubbed, one_pack_a_step: None
) -> None:
    dead = Scrubber(scrubbed.services)
    await dead.step()
    await dead.step()
    heir = Scrubber(scrubbed.services)
    await heir.step()
    assert (await scrubbed.current()).packs == 2, "the lease of the dead one is respected"
    scrubbed.clock.advance(timedelta(minutes=10))
    await scrubbed.round(heir)
    last = await scrubbed.last()
    assert (last.packs, last.bytes_read) == (PACKS, scrubbed.stored)


async def test_who_lost_the_lease_while_reading_counts_nothing(
    scrubbed: Scrubbed, one_pack_a_step: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, quick = Scrubber(scrubbed.services), Scrubber(scrubbed.services)
    read = Scrubber._read

    async def read_slowly(self: Scrubber, packs: list[PackInfo]) -> CheckReport:
        if self is slow:
            scrubbed.clock.advance(timedelta(hours=1))
            await quick.step()
        return await read(self, packs)

    monkeypatch.setattr(Scrubber, "_read", read_slowly)
    await slow.step()
    assert (await scrubbed.current()).packs == 1


async def test_collection_between_two_steps_is_no_finding(scrubbed: Scrubbed, one_pack_a_step: None) -> None:
    scrubber = Scrubber(scrubbed.services)
    await scrubber.step()
    for _ in range(3):
        scrubbed.clock.advance(timedelta(days=8))
        await collect_garbage(scrubbed.services)
        await scrubber.step()
    await scrubbed.round(scrubber)
    assert (await scrubbed.last()).finding_count == 0


async def test_the_pause_after_a_step_keeps_the_pace(scrubbed: Scrubbed) -> None:
    store = scrubbed.services.settings.store.model_copy(update={"scrub_bytes_per_second": 1000})
    slow = replace(scrubbed.services, settings=replace(scrubbed.services.settings, store=store))
    scrubber = Scrubber(slow)
    assert await scrubber.step() == scrubbed.stored / 1000
    assert await Scrubber(slow).step() == 60.0
    assert (await scrubbed.current()).packs == PACKS
