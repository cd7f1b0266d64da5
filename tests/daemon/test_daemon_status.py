"""The board: what is written on it from everywhere, and the status that a heartbeat reads off it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from app.agent.daemon.capture.rescan import Rescan
from app.agent.daemon.disk.layout import read_layout
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.pipeline.base import BaseLeaves, LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.leaves import LeafKey, LeafTask
from app.agent.daemon.rates import LONG_SECONDS, RateRing, Sample
from app.agent.daemon.status import Board
from app.wire.chunks import CHUNK_SIZE
from app.wire.heartbeat import ACTIVITIES, Rates, Status
from app.wire.jsonform import decode, encode
from app.wire.messages import Counters, DiskBase

MIB = 1024 * 1024
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def clock(self) -> datetime:
        return BEGIN + timedelta(seconds=self.now)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def board(time: Time) -> Board:
    return Board(time.monotonic, time.clock)


NO_BASE = BaseLeaves(lambda _first, _count: b"", 0, None, LeafCache())


@pytest.fixture
def passes(image: Callable[..., Path]) -> Iterator[tuple[DiskPass, ...]]:
    """Passes over two disks of 10 MiB that have not begun."""
    with ExitStack() as stack:
        made = []
        for number, key in enumerate(("sda", "sdb")):
            reader = stack.enter_context(DiskReader(image(f"{key}.img", 10 * MIB)))
            capture = Rescan(reader, read_layout(reader))
            made.append(
                DiskPass(number, reader, DiskBase(f"dsk-{key}", key, CHUNK_SIZE, "", 0), capture, NO_BASE)
            )
        yield tuple(made)


def test_a_new_board_says_that_nothing_has_begun(board: Board) -> None:
    status = board.status()
    assert (status.activity, status.reason, status.disks, status.rates) == ("starting", "", (), Rates())
    assert (status.eta_ms, status.freeze_ms, status.reread_bytes) == (None, None, 0)
    assert datetime.fromisoformat(status.clock) == BEGIN + timedelta(seconds=1000)


def test_every_activity_travels(board: Board) -> None:
    for name in ACTIVITIES:
        board.activity(name, "TRACKER_GAP", "why" * 1000)
        status = decode(Status, encode(board.status()))
        assert (status.activity, status.reason, len(status.detail)) == (name, "TRACKER_GAP", 1000)
    with pytest.raises(ValueError, match="dreaming"):
        board.activity("dreaming")


def test_the_tallies_of_a_pass_are_live_and_the_last_ones_stay(
    board: Board, passes: tuple[DiskPass, ...], time: Time
) -> None:
    board.watch(passes)
    passes[0].tally.add(Counters(read=4 * MIB, sent=MIB, patched=10, known=2 * MIB, wire=MIB), seen=4 * MIB)
    first, second = board.status().disks
    assert (first.key, first.size, first.used) == ("sda", 10 * MIB, 10 * MIB)
    assert (first.seen, first.sent, first.known) == (4 * MIB, MIB + 10, 2 * MIB)
    assert second.seen == 0
    passes[0].tally.add(Counters(), seen=40 * MIB)
    assert board.status().disks[0].seen == 10 * MIB, "leaves that are done twice do not make a disk larger"
    board.unwatch()
    assert [disk.key for disk in board.status().disks] == ["sda", "sdb"]


def test_the_end_of_a_pass_is_foreseen_at_its_speed_so_far(
    board: Board, passes: tuple[DiskPass, ...], time: Time
) -> None:
    board.watch(passes)
    assert board.eta is None
    time.now += 10
    passes[0].tally.add(Counters(), seen=5 * MIB)
    assert board.eta == pytest.approx(30)
    assert board.status().eta_ms == 30_000
    board.unwatch()
    assert board.eta is None


def test_a_pass_over_what_was_written_is_measured_by_that_and_not_by_the_disk(
    board: Board, passes: tuple[DiskPass, ...], time: Time
) -> None:
    board.watch(passes)
    one = LeafTask(LeafKey(0, 0), ((3, 2), (39, 5)))
    assert passes[0].bytes_of([one]) == 3 * CHUNK_SIZE, "the disk ends before the last run does"
    assert passes[0].bytes_of(passes[0].tasks) == 10 * MIB
    for each in passes:
        each.tally.announce(MIB)
    passes[0].tally.add(Counters(), seen=MIB // 2)
    time.now += 10
    assert board.eta == pytest.approx(30)
    assert [disk.seen for disk in board.status().disks] == [10 * MIB - MIB // 2, 9 * MIB]
    passes[0].tally.add(Counters(), seen=MIB // 2)
    passes[1].tally.add(Counters(), seen=MIB)
    assert board.eta == 0
    passes[1].tally.announce(2 * MIB)
    time.now += 10
    assert board.eta == pytest.approx(20), "another round"


def test_backlog_and_tracking_are_those_of_the_disk(board: Board, passes: tuple[DiskPass, ...]) -> None:
    board.watch(passes)
    board.backlog_from(lambda: {"sdb": 7})
    board.tracker_note("sdb", "tracefs", "block_rq_complete works")
    board.tracker_note("sdb", "", "events were lost")
    first, second = board.status().disks
    assert (first.backlog, first.tracker, first.note) == (0, "", "")
    assert (second.backlog, second.tracker, second.note) == (7, "", "events were lost")


def test_rates_are_over_two_and_thirty_minutes(board: Board, time: Time) -> None:
    for second in range(0, 3600, 10):
        time.now = 1000.0 + second
        written = second * 100 if second < 1800 else 180_000 + (second - 1800) * 1000
        board.written_from(partial(int, written))
        board.sent(second * 50)
        rates = board.status().rates
    assert (rates.dirty, rates.wire, rates.wire_long) == (1000, 50, 50)
    assert rates.dirty_long == pytest.approx(1000, rel=0.01)
    time.now += 120
    rates = board.status().rates
    assert (rates.dirty, rates.wire) == (0, 0)
    assert 900 < rates.dirty_long < 1000


def test_what_passes_sent_and_read_makes_rates_too(
    board: Board, passes: tuple[DiskPass, ...], time: Time
) -> None:
    time.now += 60
    board.watch(passes)
    time.now += 10
    passes[0].tally.add(Counters(read=5 * MIB, wire=6000))
    assert board.status().rates == Rates(wire=round(6000 / 70), wire_long=round(6000 / 70), read=MIB // 2)
    board.unwatch()
    board.unwatch()
    time.now += 50
    assert board.status().rates.wire == round(6000 / 120), "and it is counted once"
    assert board.status().rates.read == MIB // 2, "disks are not slow while nobody reads them"
    time.now += 600
    assert board.status().rates.wire == 0
    assert board.status().rates.read == MIB // 2


def test_the_newest_cut_is_told(board: Board) -> None:
    board.froze(0.1234, 9 * MIB)
    assert (board.status().freeze_ms, board.status().reread_bytes) == (123, 9 * MIB)


def test_the_samples_stay_few() -> None:
    ring = RateRing(Sample(0.0))
    for second in range(4 * int(LONG_SECONDS)):
        ring.take(Sample(float(second), written=second))
    assert len(ring) <= 363
    assert ring.rates(Sample(4 * LONG_SECONDS, written=4 * int(LONG_SECONDS))).dirty_long == 1


def test_a_counter_that_began_anew_is_no_negative_rate() -> None:
    ring = RateRing(Sample(0.0, written=1000))
    assert ring.rates(Sample(10.0, written=3)).dirty == 0


def test_many_threads_may_write_while_it_is_read(board: Board, passes: tuple[DiskPass, ...]) -> None:
    done = threading.Event()

    def scribble() -> None:
        while not done.is_set():
            board.watch(passes)
            board.activity("copying")
            passes[0].tally.add(Counters(wire=1), seen=1)
            board.tracker_note("sda", "tracefs", "")
            board.written_from(lambda: 1)
            board.unwatch()

    threads = [threading.Thread(target=scribble) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(200):
        decode(Status, encode(board.status()))
    done.set()
    for thread in threads:
        thread.join()
