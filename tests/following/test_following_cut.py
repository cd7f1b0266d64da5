"""When a cut may call itself frozen, quiet or fuzzy, and when it is to be tried again."""

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.disk.carriers import Span
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.standing import OnDisks, RawUse, Standing
from app.agent.daemon.disk.swaps import Swap
from app.agent.daemon.errors import FreezeError, TrackerGap
from app.agent.daemon.following.arena import Arena
from app.agent.daemon.following.capture import FollowedCapture, RoundDirt
from app.agent.daemon.following.cut import Cut, cut
from app.agent.daemon.following.rounds import FollowedDisk, Rounds
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.freezer.protocol import Fate
from app.agent.daemon.freezer.results import Frozen, Outcome, Thawed
from app.agent.daemon.pipeline.base import BaseLeaves, LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.tracking.bits import BLOCK
from app.agent.daemon.tracking.blocks import BlockSet
from app.wire.chunks import MIB
from app.wire.messages import DiskBase
from app.wire.tree import ZERO_LEAF, RootNode
from tests.following.fake_tracking import FakeTracking

SIZE = 64 * MIB
KEY = "disk"
UNIT = 256 * 1024
PER_CHUNK = UNIT // BLOCK
STANDING = Standing("ext4", "7:0", ("7:0",), Path("/x"), 1, "/x", False, 0, frozenset({KEY}))
MOUNTED = OnDisks((STANDING,), (), (), is_complete=True)
RAW = RawUse("sda3", frozenset({KEY}), None, "sda3 is in exclusive use")


class ScriptedFreezer(Freezer):
    """A freezer that freezes nothing, and says what it is told to."""

    def __init__(self, fate: Fate = Fate.FROZEN, fails: bool = False, timer_fired: bool = False) -> None:
        super().__init__(Path("/nonexistent"))
        self._fate = fate
        self._fails = fails
        self._timer_fired = timer_fired
        self.calls: list[str] = []

    def prepare(self, standings: Iterable[Standing]) -> None:
        """Note it."""
        self.calls.append("prepare")

    def freeze(self, budget: float, dead_man: float = 0.0) -> Frozen:
        """Say that it froze, or not."""
        self.calls.append("freeze")
        assert budget < dead_man <= budget + 2
        if self._fails:
            raise FreezeError("it cannot be frozen")
        return Frozen((Outcome(STANDING, self._fate),), time.monotonic(), 0.0)

    def thaw(self) -> Thawed:
        """Say that it thawed."""
        self.calls.append("thaw")
        fate = Fate.SYNCED if self._fate is Fate.SYNCED else Fate.THAWED
        return Thawed((Outcome(STANDING, fate),), 0.25, timer_fired=self._timer_fired)


@pytest.fixture
def tracking(tmp_path: Path) -> FakeTracking:
    made = FakeTracking(tmp_path, SIZE, KEY)
    made.dirty_of(KEY).mark(5 * UNIT, BLOCK)
    return made


@pytest.fixture
def rounds(tmp_path: Path, tracking: FakeTracking) -> Rounds:
    """Rounds over one disk, of which a block was written, and whose last MiB is swap."""
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(SIZE)
    swap = Extents.of([(SIZE - MIB, SIZE)])
    capture = FollowedCapture(tracking, KEY, Extents.of([(0, MIB), (SIZE - MIB, SIZE)]), swap, ())
    tree = RootNode(SIZE, UNIT, ZERO_LEAF)
    leaves = BaseLeaves(lambda *_: b"", 1, tree, LeafCache())
    base = DiskBase(key=KEY, disk_id="dsk-1", size=SIZE, chunk_size=UNIT, root=tree.hash.hex())
    dirt = RoundDirt(tracking, KEY)
    return Rounds(
        tracking,
        [FollowedDisk(DiskPass(0, DiskReader(path), base, capture, leaves, dirt), capture, dirt)],
    )


def tried(
    rounds: Rounds,
    freezer: Freezer | None,
    standing: OnDisks = MOUNTED,
    size: int = 4 * MIB,
    budget: float = 60.0,
) -> Cut:
    """A cut."""
    with Arena(size) as arena:
        return cut(rounds, arena, freezer, standing, budget)


def test_what_was_left_is_read_between_freeze_and_thaw(rounds: Rounds) -> None:
    freezer = ScriptedFreezer()
    done = tried(rounds, freezer)
    assert freezer.calls == ["prepare", "freeze", "thaw"]
    assert (done.label, done.is_complete, done.read_bytes, done.seconds) == (FROZEN, True, UNIT, 0.25)
    assert [reading.runs for reading in done.readings] == [[(5 * PER_CHUNK, PER_CHUNK)]]


@pytest.mark.parametrize(
    ("freezer", "standing"),
    [
        (None, MOUNTED),
        (ScriptedFreezer(), OnDisks((), (), (), is_complete=True)),
        (ScriptedFreezer(), replace(MOUNTED, filesystems=(replace(STANDING, is_read_only=True),))),
        (ScriptedFreezer(), replace(MOUNTED, raw=(RAW,))),
        (ScriptedFreezer(), replace(MOUNTED, is_complete=False)),
        (ScriptedFreezer(timer_fired=True), MOUNTED),
        (ScriptedFreezer(fails=True), MOUNTED),
    ],
)
def test_where_somebody_could_have_written_the_label_is_quiet_at_best(
    freezer: ScriptedFreezer | None, standing: OnDisks, rounds: Rounds, tracking: FakeTracking
) -> None:
    assert tried(rounds, freezer, standing).label == QUIET
    tracking.writing = True
    assert tried(rounds, freezer, standing).label == FUZZY


@pytest.mark.parametrize(
    ("freezer", "standing", "doubt"),
    [
        (ScriptedFreezer(), MOUNTED, ""),
        (ScriptedFreezer(), replace(MOUNTED, raw=(RAW,)), RAW.reason),
        (ScriptedFreezer(), replace(MOUNTED, is_complete=False), "mounts of some process cannot be seen"),
        (ScriptedFreezer(timer_fired=True), MOUNTED, "thawed early"),
        (ScriptedFreezer(Fate.SYNCED), MOUNTED, "ext4 at /x knows no freezing"),
    ],
)
def test_why_a_freeze_does_not_make_it_frozen_is_told(
    freezer: ScriptedFreezer, standing: OnDisks, doubt: str, rounds: Rounds, tracking: FakeTracking
) -> None:
    tracking.writing = True
    told = tried(rounds, freezer, standing).doubt
    assert doubt in told
    assert bool(doubt) == bool(told)


def test_what_cannot_be_frozen_stood_still_if_nothing_was_written(
    rounds: Rounds, tracking: FakeTracking
) -> None:
    freezer = ScriptedFreezer(Fate.SYNCED)
    assert tried(rounds, freezer).label == FROZEN
    tracking.writing = True
    assert tried(rounds, freezer).label == FUZZY


def test_a_freeze_that_fails_is_told_and_nothing_is_thawed(rounds: Rounds) -> None:
    freezer = ScriptedFreezer(fails=True)
    done = tried(rounds, freezer)
    assert (done.failure, done.seconds, done.is_complete) == ("it cannot be frozen", 0.0, True)
    assert "thaw" not in freezer.calls


@pytest.mark.parametrize("freezer", [None, ScriptedFreezer()])
def test_a_write_that_was_seen_makes_it_fuzzy(
    freezer: Freezer | None, rounds: Rounds, tracking: FakeTracking
) -> None:
    tracking.at_drain = [lambda: None, lambda: tracking.dirty_of(KEY).mark(0, BLOCK)]
    assert tried(rounds, freezer).label == FUZZY


def test_writes_to_swap_do_not_count(rounds: Rounds, tracking: FakeTracking) -> None:
    tracking.at_drain = [lambda: None, lambda: tracking.dirty_of(KEY).mark(SIZE - BLOCK, BLOCK)]
    assert tried(rounds, ScriptedFreezer()).label == FROZEN
    rounds.delivered()
    assert rounds.left().chunks == 0


def swap_at(*spans: tuple[int, int]) -> OnDisks:
    """Swap in use at these (start, size)."""
    found = tuple(Span(KEY, start, size) for start, size in spans)
    return replace(MOUNTED, swaps=(Swap("/dev/x2", "7:2", frozenset({KEY}), found),))


def test_swap_that_ended_is_copied(rounds: Rounds) -> None:
    capture = rounds.disks[0].capture
    rounds.note_swap(swap_at((SIZE - MIB, MIB // 2)))
    assert list(capture.unwritten) == [(SIZE - MIB, SIZE - MIB // 2)]
    assert list(capture.omitted) == [(0, MIB), (SIZE - MIB, SIZE - MIB // 2)]
    rounds.note_swap(swap_at((SIZE - MIB, MIB // 2)))
    done = tried(rounds, ScriptedFreezer())
    chunks = [run for reading in done.readings for run in reading.runs]
    assert chunks == [(5 * PER_CHUNK, PER_CHUNK), ((SIZE // UNIT - 2) * PER_CHUNK, 2 * PER_CHUNK)]


def test_new_swap_is_done_once_as_zeros(tracking: FakeTracking) -> None:
    came = Extents.of([(8 * UNIT, 9 * UNIT)])
    capture = FollowedCapture(tracking, KEY, came, came, (), came)
    assert list(capture.written([(7 * UNIT, 10 * UNIT)])) == [(7 * UNIT, 10 * UNIT)]
    assert list(capture.counting([(7 * UNIT, 10 * UNIT)])) == [(7 * UNIT, 8 * UNIT), (9 * UNIT, 10 * UNIT)]
    assert list(capture.omitted) == [(8 * UNIT, 9 * UNIT)]


def test_what_is_written_is_left_out_no_more(rounds: Rounds, tracking: FakeTracking) -> None:
    tracking.dirty_of(KEY).mark(2 * BLOCK, BLOCK)
    rounds.take()
    assert list(rounds.disks[0].capture.omitted) == [
        (0, 2 * BLOCK),
        (3 * BLOCK, MIB),
        (SIZE - MIB, SIZE),
    ]


def with_more(tracking: FakeTracking) -> None:
    tracking.dirty_of(KEY).mark(MIB, 8 * MIB)


@pytest.mark.parametrize(
    ("prepare", "budget"), [(with_more, 60.0), (lambda _: None, 0.0)], ids=["too much", "too late"]
)
def test_what_does_not_fit_is_still_to_be_done(
    prepare: Callable[[FakeTracking], None], budget: float, rounds: Rounds, tracking: FakeTracking
) -> None:
    prepare(tracking)
    freezer = ScriptedFreezer()
    done = tried(rounds, freezer, budget=budget)
    assert (done.is_complete, done.label, freezer.calls[-1]) == (False, FUZZY, "thaw")
    assert rounds.left().chunks > 0, "what was taken is still to be read"
    again = rounds.take()
    assert sum(count for task in again for _, count in task.runs or ()) >= 1
    rounds.delivered()
    assert (rounds.take(), rounds.left().chunks) == ([], 0)


def test_a_gap_ends_the_cut_and_thaws(rounds: Rounds, tracking: FakeTracking) -> None:
    tracking.gaps[KEY] = "events were lost"
    freezer = ScriptedFreezer()
    with pytest.raises(TrackerGap, match="events were lost"):
        tried(rounds, freezer)
    assert freezer.calls[-1] == "thaw"


def test_extra_blocks_are_taken_with_what_was_written(rounds: Rounds) -> None:
    extra = BlockSet()
    extra.add(20 * UNIT, BLOCK)
    assert [task.runs for task in rounds.take_all({KEY: extra})] == [((5, 1), (20, 1))]
