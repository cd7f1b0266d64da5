"""Leases by observation: whoever gives signs of life keeps its job, whatever wall clocks do."""

from datetime import timedelta

from app.work.leases import Sign, Watch
from app.work.pauses import MOST, pause


class Ticks:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_who_stays_silent_for_a_whole_lease_is_abandoned() -> None:
    ticks = Ticks()
    watch = Watch(30.0, ticks)
    assert watch.abandoned([Sign("a", 1, 1), Sign("b", 1, 1)]) == frozenset()
    ticks.now += 29
    assert watch.abandoned([Sign("a", 1, 1), Sign("b", 1, 2)]) == frozenset()
    ticks.now += 1
    assert watch.abandoned([Sign("a", 1, 1), Sign("b", 1, 2)]) == {"a"}


def test_a_new_holder_begins_a_new_lease() -> None:
    ticks = Ticks()
    watch = Watch(30.0, ticks)
    watch.abandoned([Sign("a", 1, 7)])
    ticks.now += 40
    assert watch.abandoned([Sign("a", 2, 7)]) == frozenset()


def test_what_was_not_seen_meanwhile_is_looked_at_afresh() -> None:
    ticks = Ticks()
    watch = Watch(30.0, ticks)
    watch.abandoned([Sign("a", 1, 1)])
    ticks.now += 10
    watch.abandoned([])
    ticks.now += 25
    assert watch.abandoned([Sign("a", 1, 1)]) == frozenset()


def test_pauses_grow_are_spread_and_end() -> None:
    longest = [pause(failures, lambda: 1.0) for failures in range(1, 12)]
    assert [each.total_seconds() for each in longest[:4]] == [2, 4, 8, 16]
    assert longest == sorted(longest)
    assert longest[-1] == pause(10_000, lambda: 1.0) == MOST
    assert pause(1, lambda: 0.0) == timedelta(seconds=1)
