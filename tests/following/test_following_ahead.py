"""What is read ahead of a cut is the disk of the cut in the end, whatever was written between."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.agent.daemon.capture.activity import FROZEN
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.following import arena as arenas
from app.agent.daemon.following.ahead import read_ahead
from app.agent.daemon.following.arena import Arena
from app.agent.daemon.following.capture import FollowedCapture, RoundDirt
from app.agent.daemon.following.cut import Cut, cut
from app.agent.daemon.following.rounds import FollowedDisk, Rounds
from app.agent.daemon.pipeline.base import BaseLeaves, LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.tracking.bits import BLOCK
from app.wire.chunks import KIB, MIB
from app.wire.messages import DiskBase
from app.wire.tree import ZERO_LEAF, RootNode
from tests.following.fake_tracking import FakeTracking
from tests.following.test_following_cut import MOUNTED, ScriptedFreezer

UNIT = 256 * KIB
SIZE = 8 * MIB + 5 * BLOCK + 512
"""The last chunk is short, and so is its last block."""
LAST = SIZE // BLOCK
KEY = "disk"
ROOM = 4 * MIB


class Source:
    """A disk of random bytes and the rounds over it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "disk.img"
        self._chance = random.Random(7)
        self.path.write_bytes(self._chance.randbytes(SIZE))
        self.tracking = FakeTracking(folder, SIZE, KEY)
        self.capture = FollowedCapture(self.tracking, KEY, Extents(), Extents(), ())
        tree = RootNode(SIZE, UNIT, ZERO_LEAF)
        leaves = BaseLeaves(lambda *_: b"", 1, tree, LeafCache())
        base = DiskBase(key=KEY, disk_id="dsk-1", size=SIZE, chunk_size=UNIT, root=tree.hash.hex())
        dirt = RoundDirt(self.tracking, KEY)
        self.disk = DiskPass(0, DiskReader(self.path), base, self.capture, leaves, dirt)
        self.rounds = Rounds(self.tracking, [FollowedDisk(self.disk, self.capture, dirt)])

    def write(self, *blocks: int) -> None:
        """Write new bytes into each of these blocks; the tracker tells of them."""
        with self.path.open("r+b") as file:
            for block in blocks:
                file.seek(block * BLOCK)
                file.write(self._chance.randbytes(min(BLOCK, SIZE - block * BLOCK)))
                file.flush()
                os.fsync(file.fileno())
                self.tracking.dirty_of(KEY).mark(block * BLOCK, BLOCK)

    def cut(self, arena: Arena) -> Cut:
        """Freeze, read what is left, thaw."""
        return cut(self.rounds, arena, ScriptedFreezer(), MOUNTED, 60.0)

    def require_equal(self, done: Cut, chunks: set[int]) -> None:
        """These chunks were read, each once, and all bytes of them are the disk's."""
        data, seen = self.path.read_bytes(), list[int]()
        for reading in done.readings:
            for low, high, at in reading.places():
                assert reading.view[at : at + high - low] == data[low:high], low
                seen += range(low // UNIT, -(-high // UNIT))
        assert sorted(seen) == sorted(chunks)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    made = Source(tmp_path)
    yield made
    made.tracking.close(keep=False)
    made.disk.reader.close()


def test_a_chunk_that_is_written_to_between_reading_ahead_and_freeze_is_that_of_the_freeze(
    source: Source,
) -> None:
    source.write(3, 70, 130)
    with Arena(ROOM) as arena:
        read_ahead(source.rounds, arena, 0)
        source.write(3, 4, 80)
        done = source.cut(arena)
        assert (done.label, done.is_complete, done.read_bytes) == (FROZEN, True, 3 * BLOCK)
        source.require_equal(done, {0, 1, 2})


def test_a_write_that_completes_while_the_source_is_being_frozen_is_in_the_cut(source: Source) -> None:
    source.write(3)
    with Arena(ROOM) as arena:
        read_ahead(source.rounds, arena, 0)
        source.tracking.at_drain = [lambda: source.write(5, 200)]
        done = source.cut(arena)
        assert (done.label, done.read_bytes) == (FROZEN, BLOCK + UNIT)
        source.require_equal(done, {0, 200 * BLOCK // UNIT})


def test_the_end_of_the_disk_is_read_anew_as_far_as_it_goes(source: Source) -> None:
    source.write(LAST)
    with Arena(ROOM) as arena:
        read_ahead(source.rounds, arena, 0)
        source.write(LAST - 1, LAST)
        done = source.cut(arena)
        assert done.read_bytes == BLOCK + 512
        source.require_equal(done, {SIZE // UNIT})


def test_what_has_no_room_ahead_is_read_in_the_cut(source: Source) -> None:
    far = 4 * MIB // BLOCK
    source.write(0, far)
    with Arena(3 * UNIT) as arena:
        read_ahead(source.rounds, arena, 2 * UNIT)
        assert not arena.ahead, "both chunks are of one leaf, and would leave less than two"
        source.write(1)
        done = source.cut(arena)
        assert done.read_bytes == 2 * UNIT
        source.require_equal(done, {0, far * BLOCK // UNIT})


def test_runs_of_chunks_are_completed_by_what_was_not_read_ahead(source: Source) -> None:
    source.write(64, 128, 320)
    with Arena(ROOM) as arena:
        read_ahead(source.rounds, arena, 0)
        source.write(*range(0, 6 * 64, 64), 129)
        done = source.cut(arena)
        assert done.read_bytes == 3 * UNIT + 4 * BLOCK
        source.require_equal(done, {0, 1, 2, 3, 4, 5})


def test_what_was_written_after_it_could_not_be_read_ahead_is_unreadable_no_more(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_bad = True

    def read(reader: DiskReader, start: int, view: memoryview, damaged: list[tuple[int, int]]) -> None:
        reader.read_into(start, view)
        if is_bad:
            damaged += [(start, start + BLOCK), (start + 2 * BLOCK, start + 3 * BLOCK)]

    monkeypatch.setattr(arenas, "read_span", read)
    source.write(3)
    with Arena(ROOM) as arena:
        read_ahead(source.rounds, arena, 0)
        is_bad = False
        source.write(2)
        done = source.cut(arena)
        assert [reading.damaged for reading in done.readings] == [[(0, BLOCK)]]


def test_what_was_read_ahead_is_still_to_be_done_where_the_cut_does_not_succeed(source: Source) -> None:
    source.write(3)
    with Arena(UNIT) as arena:
        read_ahead(source.rounds, arena, 0)
        source.write(100)
        assert not source.cut(arena).is_complete
    assert [task.runs for task in source.rounds.take()] == [((0, 2),)]
