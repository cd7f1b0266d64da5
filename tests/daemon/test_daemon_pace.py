"""The pace of the agent: never more than the rate over any time, changed while it waits, ended at once."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.errors import DiskError, LinkError
from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.pace import BURST_SECONDS, DEBT_SECONDS, TokenBucket, Tokens
from app.agent.daemon.service import PUT_SECONDS, Service
from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.sync import Observer, Synchroniser
from app.agent.daemon.yielding import Gate
from app.wire.chunks import KIB, MIB
from app.wire.heartbeat import Orders
from app.wire.messages import Open, Poll, Polled
from tests.daemon.fake_gateway import FakeGateway

DEADLINE = 60.0


def never() -> bool:
    return False


def polled(rate: int | None) -> Polled:
    return Polled("none", 1, 3600, Orders(wire_rate=rate))


# --- the arithmetic ----------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.floats(0, 2), st.integers(1, 4 * MIB)), min_size=2, max_size=60)


def granted(rate: float, steps: list[tuple[float, int]]) -> list[tuple[float, float]]:
    """(when, how much) a sender gets that idles now and then and takes pieces of at most a burst."""
    now, tokens, found = 0.0, Tokens(rate, 0.0), []
    for idle, amount in steps:
        now += idle
        piece = min(amount, tokens.capacity)
        while (left := tokens.seconds_until(piece, now)) > 0:
            now += left + 1e-9
        tokens.take(piece)
        found.append((now, piece))
    return found


@given(st.integers(1, 1 << 30), STEPS)
def test_over_any_time_no_more_than_the_rate_and_one_burst(rate: int, steps: list[tuple[float, int]]) -> None:
    found = granted(rate, steps)
    most_at_once = max(1.0, rate * BURST_SECONDS)
    for first, (began, _) in enumerate(found):
        total = 0.0
        for ended, amount in found[first:]:
            total += amount
            assert total <= most_at_once + rate * (ended - began) * (1 + 1e-9) + 1e-3


@given(st.integers(1, 1 << 30), st.integers(2, 40))
def test_who_always_wants_more_gets_the_rate(rate: int, count: int) -> None:
    steps = [(0.0, 4 * MIB)] * count
    found = granted(rate, steps)
    total = sum(amount for _, amount in found)
    assert total >= rate * found[-1][0] * (1 - 1e-6) - 1e-3


@given(st.integers(1, 1 << 30), st.lists(st.integers(0, 1 << 40), max_size=20))
def test_what_did_not_wait_holds_others_up_for_a_bounded_time(rate: int, charges: list[int]) -> None:
    tokens = Tokens(rate, 0.0)
    for amount in charges:
        tokens.charge(amount, 0.0)
    assert tokens.seconds_until(1, 0.0) <= DEBT_SECONDS + 1 / rate + 1e-6


def test_a_change_of_rate_pays_debts_at_the_new_rate_and_keeps_no_more_than_its_burst() -> None:
    tokens = Tokens(1000, 0.0)
    tokens.take(3000)
    tokens.set_rate(1_000_000, 0.0)
    assert tokens.seconds_until(0, 0.0) == pytest.approx(0.003)
    tokens.seconds_until(0, 100.0)
    tokens.set_rate(8, 100.0)
    assert tokens.level == tokens.capacity == 2


# --- waiting -----------------------------------------------------------------------------------------------


class Waiter:
    """Waits in a thread of its own."""

    def __init__(self, bucket: TokenBucket, amount: float = 1, *, is_under_way: bool = False) -> None:
        self.is_over = threading.Event()
        self.got: bool | None = None
        self._bucket, self._amount, self._is_under_way = bucket, amount, is_under_way
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self.got = self._bucket.take(self._amount, self.is_over.is_set, is_under_way=self._is_under_way)

    def end(self) -> bool | None:
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive(), "it still waits"
        return self.got


def test_at_rate_zero_nothing_goes_out_until_it_changes() -> None:
    bucket = TokenBucket()
    bucket.set_rate(0)
    waiter = Waiter(bucket)
    time.sleep(0.3)
    assert waiter.got is None
    bucket.set_rate(MIB)
    assert waiter.end() is True


@pytest.mark.parametrize("rate", [0, 1])
def test_waiting_ends_when_the_pass_does(rate: int) -> None:
    bucket = TokenBucket(1)
    bucket.take(3600, never)
    bucket.set_rate(rate)
    waiter = Waiter(bucket)
    waiter.is_over.set()
    assert waiter.end() is False


def test_who_waits_at_a_low_rate_goes_on_at_once_at_a_high_one() -> None:
    bucket = TokenBucket(1)
    bucket.take(3600, never)
    waiter = Waiter(bucket)
    bucket.set_rate(None)
    assert waiter.end() is True


def test_what_is_under_way_ends_at_the_rate_before_zero() -> None:
    bucket = TokenBucket()
    bucket.set_rate(MIB)
    bucket.set_rate(0)
    assert Waiter(bucket, KIB, is_under_way=True).end() is True
    assert bucket.is_shut


def test_a_large_frame_is_cut_into_pieces_of_a_burst() -> None:
    data = bytes(range(256)) * 64
    bucket = TokenBucket(len(data) * 8)
    pieces = [bytes(piece) for piece in bucket.pieces(data, never)]
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= len(data) * 8 * BURST_SECONDS
    free = list(TokenBucket().pieces(bytes(3 * MIB), never))
    assert len(free) == 3


# --- on the wire -------------------------------------------------------------------------------------------


def test_each_heartbeat_sets_the_pace(service: Service, gateway: FakeGateway) -> None:
    for rate in (MIB, 0, None):
        gateway.polled = polled(rate)
        service.poll(Poll("instance", "idle"))
        assert service.link.pace.rate == rate


def test_messages_pass_at_rate_zero_and_nothing_else_does(service: Service, gateway: FakeGateway) -> None:
    gateway.polled = polled(0)
    service.poll(Poll("instance", "idle"))
    session = service.open(Open("instance", "", ()))
    session.is_over = lambda: True
    with pytest.raises(Stopped):
        session.have([bytes(32)])
    with pytest.raises(Stopped):
        session.signatures([bytes(32)])
    with pytest.raises(Stopped):
        session.begin_put()


def test_a_put_is_bounded_by_what_the_pace_lets_out_in_a_minute(service: Service) -> None:
    session = service.open(Open("instance", "", ()))
    put = session.begin_put()
    put.sent = 10 * MIB
    assert session.may_go_on(put, 128 * MIB)
    service.link.pace.set_rate(10 * MIB / PUT_SECONDS)
    assert not session.may_go_on(put, 128 * MIB)
    service.link.pace.set_rate(0)
    put.sent = 0
    assert not session.may_go_on(put, 128 * MIB)
    put.close()


def random_disk(image: Callable[..., Path], size: int) -> Path:
    import random

    return image("disk.img", size, (0, random.Random(size).randbytes(size)))


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(work())
        except BaseException as error:  # noqa: BLE001  (looked at by the test)
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, ended


def test_a_copy_waits_at_rate_zero_and_is_whole_when_the_pace_is_lifted(
    service: Service,
    gateway: FakeGateway,
    synchroniser: Callable[..., Synchroniser],
    image: Callable[..., Path],
) -> None:
    disk = random_disk(image, 4 * MIB)
    service.link.pace.set_rate(0)
    thread, ended = in_thread(synchroniser(disk).run)
    time.sleep(1.0)
    assert (gateway.received, gateway.puts, ended) == (0, 0, [])
    service.link.pace.set_rate(None)
    thread.join(DEADLINE)
    assert len(gateway.commits) == 1, ended
    assert gateway.content(str(disk)) == disk.read_bytes()


def test_a_frame_larger_than_a_minute_of_the_pace_arrives_in_pieces_and_is_never_lost(
    service: Service,
    gateway: FakeGateway,
    synchroniser: Callable[..., Synchroniser],
    image: Callable[..., Path],
) -> None:
    """2 MiB at 8 KiB a second take minutes. When the pace is raised, the same request goes on."""
    disk = random_disk(image, 2 * MIB)
    service.link.pace.set_rate(8 * KIB)
    thread, ended = in_thread(synchroniser(disk).run)
    time.sleep(2.0)
    assert ended == []
    service.link.pace.set_rate(None)
    thread.join(DEADLINE)
    assert len(gateway.commits) == 1, ended
    assert gateway.puts == 1
    assert gateway.content(str(disk)) == disk.read_bytes()


def test_the_pace_holds_over_a_whole_copy(
    service: Service,
    gateway: FakeGateway,
    synchroniser: Callable[..., Synchroniser],
    image: Callable[..., Path],
) -> None:
    disk = random_disk(image, 3 * MIB)
    service.link.pace.set_rate(MIB)
    began = time.monotonic()
    synchroniser(disk).run()
    assert time.monotonic() - began >= 3 * 0.9 - BURST_SECONDS
    assert gateway.content(str(disk)) == disk.read_bytes()


@pytest.mark.parametrize("rate", [0, 8 * KIB])
def test_a_stop_ends_a_copy_that_waits_for_its_pace(
    service: Service,
    synchroniser: Callable[..., Synchroniser],
    image: Callable[..., Path],
    stop: Stop,
    rate: int,
) -> None:
    service.link.pace.set_rate(rate)
    thread, ended = in_thread(synchroniser(random_disk(image, 4 * MIB)).run)
    time.sleep(0.5)
    stop.set()
    thread.join(DEADLINE)
    assert isinstance(ended[0], Stopped | LinkError), ended


class FailingGate(Gate):
    """Where the third segment cannot be read."""

    segments = 0

    def wait(self, size: int, is_over: Callable[[], bool]) -> bool:
        self.segments += 1
        if self.segments == 3:
            time.sleep(0.5)
            raise DiskError("the disk is gone", code="DISK_VANISHED")
        return super().wait(size, is_over)


def test_a_failure_elsewhere_ends_a_copy_that_waits_for_its_pace(
    service: Service, image: Callable[..., Path], stop: Stop
) -> None:
    disk = random_disk(image, 48 * MIB)
    service.link.pace.set_rate(8 * KIB)
    copy = Synchroniser(
        service, "instance", (str(disk),), stop, Observer(), Host(Follower(disk.parent), gate=FailingGate())
    )
    thread, ended = in_thread(copy.run)
    thread.join(DEADLINE)
    assert isinstance(ended[0], DiskError), ended
