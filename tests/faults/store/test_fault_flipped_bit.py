"""One flipped bit anywhere in the store: `check` finds it by name, and the next session heals it.

Chunks heal from the source by the resend list; a leaf or root of the head because the agent is told that its
base is unknown there and sends the leaves again; a checkpoint file or marker is written again from the
database by the check that found it.
"""

import asyncio
import errno
import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from app.kit.clock import Clock, ManualClock
from app.kit.database import Base
from app.migration.catalogue.service import get_checkpoint
from app.migration.replication.maintenance import check_store, collect_garbage, rebuild_database
from app.migration.servers.tables import ServerRow
from app.migration.services import Services
from app.store.findings import CheckReport, FindingKind, no_progress
from app.store.layout import NodeKind, pack_key
from app.store.pack import HEADER, TRAILER, PackEntry
from app.store.packcheck import parse_pack
from app.wire.chunks import BLOCK, CHUNK_SIZE, chunk_id
from app.wire.codec import Codec
from app.wire.frames import encode_patches
from tests.faults.store.rescan_agent import RescanAgent
from tests.faults.store.sample_disk import KEY, patches
from tests.faults.store.store_ledger import Ledger
from tests.faults.store.store_services import (
    ClockedCalls,
    Places,
    head_differs,
    opened,
    prepared,
)

START = datetime(2026, 1, 2, tzinfo=UTC)
LATER_BY = timedelta(minutes=10)
SOURCE = random.Random("flips")
A, B, C, D = (SOURCE.randbytes(CHUNK_SIZE) for _ in range(4))
EDITED = A[:BLOCK] + SOURCE.randbytes(BLOCK) + A[2 * BLOCK :]
ZERO = bytes(CHUNK_SIZE)
BEFORE = b"".join((ZERO, A, B, C, ZERO, ZERO, b"tail" * BLOCK))
NOW = b"".join((ZERO, EDITED, B, C, D, A, b"tail" * BLOCK))
"""All that BEFORE holds is still on the source, so that all of it can heal. EDITED is a delta on A."""
LATER = b"".join((D, C, B, A, EDITED, ZERO, b"liat" * BLOCK))


class BadSectors(ClockedCalls):
    """Files, by inode, that cannot be read."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.bad: set[int] = set()

    def read(self, descriptor: int, length: int, offset: int) -> bytes:
        if os.fstat(descriptor).st_ino in self.bad:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return super().read(descriptor, length, offset)


@dataclass
class Flipped:
    """Services with two checkpoints, BEFORE and NOW, and the files that hold them."""

    services: Services
    agent: RescanAgent
    clock: ManualClock
    calls: BadSectors
    folder: Path

    def pack_of(self, plain: bytes) -> tuple[Path, PackEntry]:
        """The pack that holds a chunk, and its record there."""
        name = chunk_id(plain)
        for pack in self.services.store.packs():
            file = self.folder / pack_key(pack.name)
            for entry in parse_pack(file.read_bytes()).entries:
                if entry.id == name:
                    return file, entry
        raise AssertionError("no pack holds the chunk")

    async def head_root(self) -> bytes:
        """The root of the head's only disk."""
        async with self.services.database.reading() as uow:
            head = await get_checkpoint(uow, self.agent.server, "latest")
        return bytes.fromhex(head.disks[0].root)

    def node_file(self, kind: NodeKind, name: bytes) -> Path:
        """The newest writing of a node."""
        (info, *_) = self.services.store.writings(kind, name)
        return self.folder / info.name

    async def check(self) -> CheckReport:
        """Read everything."""
        return await check_store(self.services, read_data=True, subset=None, progress=no_progress)

    async def kinds(self) -> set[FindingKind]:
        """What a check of everything finds that is harmful."""
        return {finding.kind for finding in (await self.check()).findings if not finding.is_harmless}

    async def assert_whole(self) -> None:
        """A check of everything finds nothing harmful and the head verifies."""
        assert await self.kinds() == set()
        assert await head_differs(self.services, self.agent.server) == []


@dataclass(frozen=True)
class Prepared:
    """Store and database with the two checkpoints, to be copied for each test."""

    folder: Path
    server: str

    @property
    def places(self) -> Places:
        """Where they lie."""
        return Places(self.folder / "store", self.folder / "database" / "go2cloud.db")


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("flips")
    return asyncio.run(_prepare(folder))


async def _prepare(folder: Path) -> Prepared:
    places = Prepared(folder, "").places
    clock, server = ManualClock(START), await prepared(places, START)
    async with opened(places, clock, ClockedCalls(clock)) as services:
        agent = RescanAgent(services, server)
        await agent.rescan(BEFORE)
        await agent.open({KEY: len(NOW)})
        await agent.put(encode_patches(list(patches(BEFORE, NOW))))
        clock.advance(LATER_BY)
        await agent.rescan(NOW)
    return Prepared(folder, server)


@pytest.fixture
async def flipped(two_checkpoints: Prepared, tmp_path: Path) -> AsyncIterator[Flipped]:
    shutil.copytree(two_checkpoints.folder, tmp_path / "copy")
    copy = Prepared(tmp_path / "copy", two_checkpoints.server)
    clock = ManualClock(START + LATER_BY)
    calls = BadSectors(clock)
    async with opened(copy.places, clock, calls) as services:
        agent = RescanAgent(services, copy.server)
        world = Flipped(services, agent, clock, calls, copy.places.store)
        assert world.pack_of(EDITED)[1].codec is Codec.DELTA
        yield world


async def test_what_nothing_happened_to_is_whole(flipped: Flipped) -> None:
    await flipped.assert_whole()


def flip(file: Path, at: int) -> None:
    """Flip one bit of the byte at `at`, from the end where it is negative."""
    data = bytearray(file.read_bytes())
    data[at] ^= 0x10
    file.write_bytes(data)


def in_record(plain: bytes, place: Callable[[PackEntry], int]) -> Callable[[Flipped], None]:
    def damage(world: Flipped) -> None:
        file, entry = world.pack_of(plain)
        flip(file, place(entry))

    return damage


def in_pack(plain: bytes, at: int) -> Callable[[Flipped], None]:
    def damage(world: Flipped) -> None:
        flip(world.pack_of(plain)[0], at)

    return damage


PACKS: dict[str, Callable[[Flipped], None]] = {
    "the magic": in_pack(B, 0),
    "the nonce": in_pack(B, 20),
    "the owner": in_pack(B, HEADER.size + 3),
    "a record's id": in_record(B, lambda entry: entry.start),
    "a record's codec": in_record(B, lambda entry: entry.start + 32),
    "a record's length": in_record(B, lambda entry: entry.offset - 1),
    "a chunk's bytes": in_record(B, lambda entry: entry.offset + entry.stored_length // 2),
    "a base's bytes": in_record(A, lambda entry: entry.offset + 5 * BLOCK),
    "a delta's base": in_record(EDITED, lambda entry: entry.offset - 1),
    "a delta's extents": in_record(EDITED, lambda entry: entry.offset + 1),
    "a delta's bytes": in_record(EDITED, lambda entry: entry.end - 1),
    "the footer's owner": in_pack(B, -TRAILER.size - 10),
    "the trailer's magic": in_pack(B, -TRAILER.size),
    "the trailer's count": in_pack(B, -TRAILER.size + 15),
    "the trailer's hash": in_pack(B, -1),
}


@pytest.mark.parametrize("damage", PACKS.values(), ids=PACKS.keys())
async def test_a_bit_in_a_pack_is_found_and_heals_from_the_source(
    flipped: Flipped, damage: Callable[[Flipped], None], ledger: Ledger
) -> None:
    damage(flipped)
    found = (await flipped.check()).findings
    assert {item.kind for item in found} <= {
        FindingKind.PACK_DAMAGED,
        FindingKind.PACK_DAMAGED_UNUSED,
        FindingKind.CHUNK_DAMAGED,
    }
    assert found
    await flipped.agent.rescan(NOW)
    await flipped.assert_whole()
    ledger.note("flipped bit", cycles=1)


@pytest.mark.parametrize("damage", PACKS.values(), ids=PACKS.keys())
async def test_what_healed_stays_whole_over_collection_and_a_rebuilt_database(
    flipped: Flipped, damage: Callable[[Flipped], None]
) -> None:
    damage(flipped)
    await flipped.check()
    await flipped.agent.rescan(NOW)
    for _ in range(2):
        flipped.clock.advance(timedelta(hours=12))
        await collect_garbage(flipped.services)
    await flipped.assert_whole()
    await lose_the_database(flipped.services)
    assert (await rebuild_database(flipped.services)).confirmed > 0
    await flipped.assert_whole()


async def lose_the_database(services: Services) -> None:
    """Delete all rows."""
    async with services.database.begin() as uow:
        await uow.session.execute(update(ServerRow).values(head_checkpoint_id=None))
        for table in reversed(Base.metadata.sorted_tables):
            await uow.session.execute(delete(table))


async def head_leaf(world: Flipped) -> Path:
    (leaf,) = world.services.store.read_root(await world.head_root()).leaf_hashes()
    return world.node_file(NodeKind.LEAF, leaf)


async def head_root_file(world: Flipped) -> Path:
    return world.node_file(NodeKind.ROOT, await world.head_root())


@pytest.mark.parametrize("at", [0, 7 * 32, 20_000, -1])
async def test_a_bit_in_a_leaf_is_found_and_heals_when_the_agent_sends_the_leaf_again(
    flipped: Flipped, at: int, ledger: Ledger
) -> None:
    flip(await head_leaf(flipped), at)
    assert await flipped.kinds() == {FindingKind.LEAF_DAMAGED}
    await flipped.agent.rescan(NOW)
    assert flipped.agent.sent == 0
    await flipped.assert_whole()
    ledger.note("flipped bit", cycles=1)


@pytest.mark.parametrize("at", [0, 4, 6, 10, 20, -1])
async def test_a_bit_in_a_root_is_found_and_heals_when_the_agent_sends_all_leaves_again(
    flipped: Flipped, at: int, ledger: Ledger
) -> None:
    flip(await head_root_file(flipped), at)
    assert await flipped.kinds() == {FindingKind.ROOT_DAMAGED}
    await flipped.agent.rescan(NOW)
    assert flipped.agent.sent == 0
    await flipped.assert_whole()
    ledger.note("flipped bit", cycles=1)


@pytest.mark.parametrize("node", [head_leaf, head_root_file])
@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_damaged_or_lost_node_of_the_head_does_not_stop_a_source_that_moved_on(
    flipped: Flipped, node: Callable[[Flipped], Awaitable[Path]], is_lost: bool
) -> None:
    file = await node(flipped)
    if is_lost:
        file.unlink()
    else:
        flip(file, 5)
    await flipped.agent.rescan(LATER)
    assert await head_differs(flipped.services, flipped.agent.server) == []
    assert len(await flipped.kinds()) == 1, "the old checkpoint is still named"
    for _ in range(3):
        flipped.clock.advance(timedelta(days=5))
        await flipped.agent.rescan(LATER)
        await collect_garbage(flipped.services)
    await flipped.assert_whole()


def newest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(f"checkpoints/*/{pattern}"))


@pytest.mark.parametrize("pattern", ["*.json", "*.committed"])
@pytest.mark.parametrize("at", [0, 5, 40, -1])
async def test_a_bit_in_a_checkpoint_file_or_marker_is_found_and_written_again_from_the_database(
    flipped: Flipped, pattern: str, at: int, ledger: Ledger
) -> None:
    file = newest(flipped.folder, pattern)
    before = file.read_bytes()
    flip(file, at)
    assert await flipped.kinds() == {FindingKind.CHECKPOINT_FILE_DAMAGED}
    await flipped.assert_whole()
    assert len(file.read_bytes()) == len(before)
    ledger.note("flipped bit", cycles=1)


@pytest.mark.parametrize("pattern", ["*.json", "*.committed"])
async def test_a_damaged_checkpoint_file_or_marker_stops_neither_a_session_nor_collection(
    flipped: Flipped, pattern: str
) -> None:
    flip(newest(flipped.folder, pattern), 7)
    await flipped.agent.rescan(LATER)
    flipped.clock.advance(timedelta(hours=12))
    await collect_garbage(flipped.services)
    await flipped.check()
    await flipped.assert_whole()


async def test_a_restored_database_is_the_same_after_a_checkpoint_file_was_written_again(
    flipped: Flipped,
) -> None:
    flip(newest(flipped.folder, "*.json"), 100)
    await flipped.check()
    async with flipped.services.database.reading() as uow:
        before = await get_checkpoint(uow, flipped.agent.server, "latest")
    await lose_the_database(flipped.services)
    await rebuild_database(flipped.services)
    async with flipped.services.database.reading() as uow:
        after = await get_checkpoint(uow, flipped.agent.server, "latest")
    assert (after.id, after.number, after.source_time, after.label) == (
        before.id,
        before.number,
        before.source_time,
        before.label,
    )
    assert after.disks == before.disks
    await flipped.assert_whole()


async def pack_file(world: Flipped) -> Path:
    return world.pack_of(B)[0]


async def checkpoint_file(world: Flipped) -> Path:
    return newest(world.folder, "*.json")


UNREADABLE: dict[Callable[[Flipped], Awaitable[Path]], FindingKind] = {
    pack_file: FindingKind.PACK_DAMAGED,
    head_leaf: FindingKind.LEAF_DAMAGED,
    head_root_file: FindingKind.ROOT_DAMAGED,
    checkpoint_file: FindingKind.CHECKPOINT_FILE_DAMAGED,
}


@pytest.mark.parametrize("which", UNREADABLE)
async def test_an_object_that_the_medium_cannot_give_back_heals_like_a_flipped_bit(
    flipped: Flipped, which: Callable[[Flipped], Awaitable[Path]], ledger: Ledger
) -> None:
    with (await which(flipped)).open() as held:
        flipped.calls.bad = {os.fstat(held.fileno()).st_ino}
        assert UNREADABLE[which] in await flipped.kinds()
        await flipped.agent.rescan(NOW)
        await flipped.assert_whole()
    ledger.note("unreadable object", cycles=1)
