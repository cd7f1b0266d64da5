"""The agent as a guest: it gives way to others, not to itself, always goes on, and keeps its caps."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agent.daemon.following.follower import Follower
from app.agent.daemon.host import Host
from app.agent.daemon.pressure import LoadGauge, Pressure, StallGauge, choose_gauge
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stop
from app.agent.daemon.sync import Observer, Synchroniser
from app.agent.daemon.yielding import CALM, FLOOR, HIGH, LONGEST_REST, LOW, Caps, Courtesy, Gate
from app.wire.chunks import MIB
from tests.daemon.fake_gateway import FakeGateway


def never() -> bool:
    return False


# --- the controller ----------------------------------------------------------------------------------


@given(st.lists(st.floats(0, 100), max_size=100), st.floats(0, 100))
def test_whatever_the_host_does_the_agent_goes_on(pressures: list[float], worked: float) -> None:
    courtesy = Courtesy()
    for worst in pressures:
        before, now = courtesy.share, courtesy.learn(worst)
        assert FLOOR <= now <= 1
        assert not (worst >= HIGH and now > before)
        assert not (worst < LOW and now < before)
        assert not (LOW <= worst < HIGH and now != before)
        assert 0 <= courtesy.rest(worked) <= LONGEST_REST


def test_it_yields_at_once_and_comes_back_slowly() -> None:
    courtesy = Courtesy()
    assert [courtesy.learn(HIGH) for _ in range(6)] == [0.5, 0.25, 0.125, 0.0625, FLOOR, FLOOR]
    assert courtesy.rest(0.1) == pytest.approx(1.9)
    back = [courtesy.learn(0) for _ in range(10)]
    assert back[: CALM - 1] == [FLOOR] * (CALM - 1)
    assert back == sorted(back)
    assert back[-1] == 1.0
    assert courtesy.rest(0.1) == 0


def test_one_calm_moment_among_others_does_not_count() -> None:
    courtesy = Courtesy()
    courtesy.learn(HIGH)
    for _ in range(10):
        courtesy.learn(0)
        courtesy.learn((HIGH + LOW) / 2)
    assert courtesy.share == 0.5


# --- what is measured --------------------------------------------------------------------------------


class Proc:
    """A /proc with the files that matter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "pressure").mkdir()
        self.task = folder / "self" / "task"
        self.thread("100", 0)
        for name in ("cpu", "io", "memory"):
            self.stall(name, 0)

    def stall(self, name: str, total: int, average: float = 0.0) -> None:
        line = f"some avg10={average:.2f} avg60=0.00 avg300=0.00 total={total}\n"
        (self.folder / "pressure" / name).write_text(line + line.replace("some", "full"))

    def thread(self, name: str, waited: int) -> None:
        (self.task / name).mkdir(parents=True, exist_ok=True)
        (self.task / name / "schedstat").write_text(f"1 {waited} 3\n")

    def schedstat(self, waited: int) -> None:
        lines = [f"cpu{number} 0 0 1 2 3 4 5 {waited // 2} 6" for number in range(2)]
        (self.folder / "schedstat").write_text(
            "\n".join(["version 17", "timestamp 1", *lines, "domain0 0 1"])
        )

    def load(self, load: float) -> None:
        (self.folder / "loadavg").write_text(f"{load:.2f} 0.00 0.00 1/100 999\n")


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    clock = Hand()
    monkeypatch.setattr("app.agent.daemon.pressure.time.monotonic", clock)
    return clock


def test_waiting_for_a_cpu_counts_as_far_as_it_is_not_our_own(proc: Proc, hand: Hand) -> None:
    gauge = StallGauge(proc.folder)
    hand.now += 2
    proc.stall("cpu", 1_000_000)
    proc.thread("100", 300_000_000)
    proc.thread("101", 300_000_000)
    assert gauge.sample(0, 0).cpu == pytest.approx(20)
    hand.now += 2
    proc.stall("cpu", 2_000_000)
    proc.thread("100", 3_300_000_000)
    assert gauge.sample(0, 0).cpu == 0


def test_where_the_kernel_adds_up_all_waiting_the_rest_of_it_is_the_others(proc: Proc, hand: Hand) -> None:
    proc.schedstat(0)
    gauge = StallGauge(proc.folder)
    hand.now += 2
    proc.stall("cpu", 2_000_000)
    proc.thread("100", 3_000_000_000)
    proc.schedstat(3_600_000_000)
    assert gauge.sample(0, 0).cpu == pytest.approx(30)
    hand.now += 2
    proc.stall("cpu", 2_400_000)
    proc.schedstat(9_600_000_000)
    assert gauge.sample(0, 0).cpu == pytest.approx(20)  # several at the same time


def test_waiting_for_memory_counts_whole_and_for_io_while_we_are_quiet(proc: Proc, hand: Hand) -> None:
    gauge = StallGauge(proc.folder)
    proc.stall("io", 5_000_000)
    gauge.quiet_begins()
    hand.now += 0.1
    proc.stall("io", 5_040_000)
    gauge.quiet_ends()
    proc.stall("io", 9_000_000)
    hand.now += 1.9
    proc.stall("memory", 200_000)
    found = gauge.sample(0, 0)
    assert found.io == pytest.approx(40)
    assert found.memory == pytest.approx(10)
    assert found.worst == found.io
    hand.now += 2
    assert gauge.sample(0, 0) == Pressure()


def test_after_a_long_time_the_average_of_the_kernel_counts(proc: Proc, hand: Hand) -> None:
    gauge = StallGauge(proc.folder)
    hand.now += 3600
    proc.stall("memory", 3_000_000_000, average=1.5)
    assert gauge.sample(0, 0).memory == 1.5


def test_without_stall_information_load_and_slow_reads_stand_in(proc: Proc, hand: Hand) -> None:
    (proc.folder / "pressure" / "io").unlink()
    assert isinstance(choose_gauge(proc.folder), LoadGauge)
    gauge = LoadGauge(proc.folder, cores=2)
    start = time.process_time()
    proc.load(2.5)
    hand.now += 2
    assert gauge.sample(start + 2.0, 0.01) == Pressure()  # one core of the load is ours
    hand.now += 2
    found = gauge.sample(start + 2.0, 0.03)
    assert found.cpu == pytest.approx(50, abs=1)
    assert found.io == pytest.approx(50)


def test_this_host_tells_one_way_or_the_other() -> None:
    gauge = choose_gauge()
    gauge.quiet_begins()
    time.sleep(0.05)
    gauge.quiet_ends()
    found = gauge.sample(time.process_time(), 0.0)
    assert all(0 <= percent <= 100 for percent in (found.cpu, found.io, found.memory))


# --- the gate ----------------------------------------------------------------------------------------


class SetGauge:
    """Tells what the test says, and minds whether anybody reads while it listens."""

    needs_quiet = True

    def __init__(self, *percents: float) -> None:
        self._percents = iter(percents)
        self.listened = 0
        self.readers: Callable[[], int] = lambda: 0

    def quiet_begins(self) -> None:
        assert self.readers() == 0

    def quiet_ends(self) -> None:
        assert self.readers() == 0
        self.listened += 1

    def sample(self, own_cpu: float, seconds_a_mib: float) -> Pressure:
        return Pressure(io=next(self._percents, 0.0))


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agent.daemon.yielding.SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr("app.agent.daemon.yielding.RARE_SAMPLE_SECONDS", 0.05)
    monkeypatch.setattr("app.agent.daemon.yielding.LISTEN_SECONDS", 0.02)


def test_nobody_reads_while_the_gate_listens_and_it_tells_once_each_way() -> None:
    notes: list[str] = []
    gauge = SetGauge(50, 50, 0, 0, 0, 0, 0, 0, 0)
    gate = Gate(gauge=gauge, note=notes.append)
    inside: set[int] = set()
    gauge.readers = lambda: len(inside)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with gate.reading(MIB, never) as may_read:
                assert may_read
                inside.add(threading.get_ident())
                time.sleep(0.001)
                inside.discard(threading.get_ident())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while len(notes) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    ended.set()
    for thread in threads:
        thread.join()
    assert ["hard-pressed" in notes[0], "recovered" in notes[1], len(notes)] == [True, True, 2]
    assert gauge.listened >= 5


def test_under_pressure_that_never_ends_a_pass_still_ends(
    service: Service, gateway: FakeGateway, stop: Stop, image: Callable[..., Path]
) -> None:
    disk = image("disk.img", 96 * MIB, (0, os.urandom(96 * MIB)))
    gate = Gate(gauge=SetGauge(*[100.0] * 10_000))
    Synchroniser(
        service, "instance", (str(disk),), stop, Observer(), Host(Follower(disk.parent), gate=gate)
    ).run()
    assert gate.share < 1
    assert gateway.content(str(disk)) == disk.read_bytes()


def test_waiting_at_the_gate_ends_with_the_pass() -> None:
    gate = Gate(Caps(read_mib=1))
    with gate.reading(3600 * MIB, never) as may_read:
        assert may_read
    is_over = threading.Event()
    threading.Timer(0.2, is_over.set).start()
    with gate.reading(MIB, is_over.is_set) as may_read:
        assert not may_read


def test_no_more_is_read_than_the_cap_allows(
    service: Service, gateway: FakeGateway, stop: Stop, image: Callable[..., Path]
) -> None:
    """The first segment begins at once; each other one waits until what was read before is paid for."""
    disk = image("disk.img", 64 * MIB, *((at * MIB, b"x" * 4096) for at in range(64)))
    began = time.monotonic()
    gate = Gate(Caps(read_mib=32))
    copy = Synchroniser(
        service, "instance", (str(disk),), stop, Observer(), Host(Follower(disk.parent), gate=gate)
    )
    result = copy.run()
    read = result.counters.read
    assert read > 0
    assert time.monotonic() - began >= (read - 16 * MIB) / (32 * MIB) * 0.9


BURNER = """
import sys, time
from app.agent.daemon.yielding import Caps, Gate
gate, ends, rounds = Gate(Caps(cpu_percent=int(sys.argv[1]))), time.monotonic() + 6.0, 0
began, cpu = time.monotonic(), time.process_time()
while time.monotonic() < ends:
    with gate.reading(1, lambda: False):
        rounds += 1
    working = time.thread_time() + 0.02
    while time.thread_time() < working:
        pass
print((time.process_time() - cpu) / (time.monotonic() - began), rounds)
"""


def test_no_more_cpu_is_used_than_the_cap_allows_and_work_goes_on() -> None:
    command = [sys.executable, "-c", BURNER, "20"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    ratio, rounds = done.stdout.split()
    assert float(ratio) <= 0.30
    assert int(rounds) >= 5
