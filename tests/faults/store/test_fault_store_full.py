"""A full store refuses puts by name, keeps its head exportable, and goes on when there is room again."""

import os
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from app.kit.clock import ManualClock
from app.kit.retry import is_unreachable
from app.migration.services import Services
from app.store.errors import StoreFull
from app.wire.chunks import CHUNK_SIZE, MIB
from tests.faults.store.rescan_agent import RescanAgent
from tests.faults.store.sample_disk import acknowledged
from tests.faults.store.store_ledger import Ledger
from tests.faults.store.store_services import Acknowledged, Places, exported, opened, prepared, violations
from tests.services.loop_disks import loop_disk

START = datetime(2026, 1, 2, tzinfo=UTC)
SIZE = 32 * MIB
RESERVE = 6 * MIB
BALLAST = 12 * MIB

pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A small ext4, mounted, with a ballast that can go."""
    with loop_disk(tmp_path / "backing", SIZE) as disk:
        disk.format("ext4")
        with disk.mounted(tmp_path / "small") as folder:
            (folder / "ballast").write_bytes(bytes(BALLAST))
            yield folder


def content(number: int) -> bytes:
    """A disk whose every chunk is new."""
    return random.Random(f"full/{number}").randbytes(5 * CHUNK_SIZE)


@dataclass
class Filling:
    """A server whose store fills up: `done` were acknowledged, `held` is what the newest one holds."""

    services: Services
    agent: RescanAgent
    done: list[Acknowledged]
    held: bytes = b""

    async def session(self, data: bytes) -> None:
        """One session."""
        committed = await self.agent.rescan(data)
        self.done.append(acknowledged(committed, self.services.clock.now()))
        self.held = data

    async def until_refused(self) -> int:
        """Sessions of new content until the store is full; how many it took."""
        for number in range(100):
            try:
                await self.session(content(number))
            except StoreFull:
                return number
        raise AssertionError("the store never became full")

    async def assert_sound(self, output: Path) -> None:
        """The check is clean and the head exports to what was committed."""
        assert await violations(self.services, self.agent.server, self.done) == []
        assert (await exported(self.services, self.agent.server, output)).read_bytes() == self.held


@asynccontextmanager
async def filling(places: Places, reserve: int) -> AsyncIterator[Filling]:
    clock = ManualClock(START)
    server = await prepared(places, START)
    async with opened(places, clock, reserve=reserve) as services:
        yield Filling(services, RescanAgent(services, server), [])


@pytest.mark.parametrize(
    ("reserve", "is_shared"),
    [(RESERVE, False), (0, False), (RESERVE, True)],
    ids=["reserve", "no reserve", "database beside the store"],
)
async def test_a_full_store_refuses_puts_keeps_its_head_and_goes_on_by_itself(
    small: Path, tmp_path: Path, reserve: int, is_shared: bool, ledger: Ledger
) -> None:
    places = Places(small / "store", (small if is_shared else tmp_path) / "database" / "go2cloud.db")
    async with filling(places, reserve) as world:
        assert await world.until_refused() > 2
        await world.assert_sound(tmp_path / "exported")
        with pytest.raises(StoreFull):
            await world.session(content(1000))
        await world.assert_sound(tmp_path / "exported")
        (small / "ballast").unlink()
        await world.session(content(1000))
        await world.assert_sound(tmp_path / "exported")
    ledger.note("full store", cycles=1)


async def test_a_database_without_room_is_unavailable_and_goes_on_when_there_is_some(
    small: Path, tmp_path: Path, ledger: Ledger
) -> None:
    places = Places(small / "store", small / "database" / "go2cloud.db")
    async with filling(places, reserve=0) as world:
        await world.session(content(0))
        fill(small / "brim")
        with pytest.raises((DBAPIError, StoreFull)) as refusal:
            await world.session(content(1))
        assert isinstance(refusal.value, StoreFull) or is_unreachable(refusal.value)
        await world.assert_sound(tmp_path / "exported")
        (small / "brim").unlink()
        await world.session(content(1))
        await world.assert_sound(tmp_path / "exported")
    ledger.note("full database", cycles=1)


def fill(file: Path) -> None:
    """Leave no byte of the filesystem free."""
    with file.open("wb", buffering=0) as output:
        for length in (MIB, 4096):
            with suppress(OSError):
                while output.write(bytes(length)):
                    os.fsync(output.fileno())
