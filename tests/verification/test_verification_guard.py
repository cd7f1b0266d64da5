"""The brake of a verification: pace, pauses, withdrawal."""

import threading
import time

import pytest

from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.verification.guard import Guard

SECONDS = 20.0


@pytest.fixture
def guard() -> Guard:
    return Guard(Stop())


def test_the_pace_is_never_exceeded_over_time(guard: Guard) -> None:
    guard.bytes_per_second = 10_000_000
    before = time.monotonic()
    for _ in range(10):
        guard.spend(500_000)
    assert time.monotonic() - before >= 0.35


def test_an_idle_time_is_not_made_up_for(guard: Guard) -> None:
    guard.bytes_per_second = 10_000_000
    guard.spend(1)
    guard.wait(0.5)
    before = time.monotonic()
    guard.spend(5_000_000)
    assert time.monotonic() - before >= 0.35


def test_without_a_limit_nothing_is_waited_for(guard: Guard) -> None:
    guard.spend(1 << 60)


def test_a_pause_waits_for_the_step_that_runs(guard: Guard) -> None:
    inside, leave = threading.Event(), threading.Event()

    def work() -> None:
        with guard.step():
            inside.set()
            leave.wait(SECONDS)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(SECONDS)
    assert not guard.pause(0.05)
    leave.set()
    assert guard.pause(SECONDS)
    thread.join()


def test_no_step_begins_until_every_pause_is_taken_back(guard: Guard) -> None:
    begun = threading.Event()

    def work() -> None:
        with guard.step():
            begun.set()

    guard.pause()
    guard.pause()
    thread = threading.Thread(target=work)
    thread.start()
    guard.resume()
    assert not begun.wait(0.2)
    guard.resume()
    assert begun.wait(SECONDS)
    thread.join()


def test_the_end_comes_through_a_pause_and_a_wait() -> None:
    stop = Stop()
    guard = Guard(stop)
    guard.pause()
    ended = threading.Event()

    def work() -> None:
        with pytest.raises(Stopped):
            guard.step().__enter__()
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    stop.set()
    assert ended.wait(SECONDS)
    thread.join()
    with pytest.raises(Stopped):
        guard.wait(SECONDS)
    with pytest.raises(Stopped):
        guard.spend(1)
