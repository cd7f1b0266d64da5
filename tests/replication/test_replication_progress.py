"""What stands still and what falls behind; the source's clock and the lag."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from app.migration.replication.clocks import lag, smoothed
from app.migration.replication.progress import has_moved, is_diverging, is_moving
from app.wire.heartbeat import DiskStatus, Status

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DISK = DiskStatus("sda", size=100, used=100, seen=10, sent=5, known=5, backlog=0)
COPYING = Status("copying", NOW.isoformat(), disks=(DISK,))


def with_disk(**changed: object) -> Status:
    return replace(COPYING, disks=(replace(DISK, **changed),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("after", "moved"),
    [
        (COPYING, False),
        (replace(COPYING, clock=(NOW + SECOND).isoformat()), False),
        (with_disk(backlog=9), False),
        (with_disk(seen=11), True),
        (with_disk(sent=6), True),
        (with_disk(known=6), True),
        (replace(COPYING, activity="rescanning"), True),
    ],
)
def test_a_pass_gets_on_when_it_has_seen_or_sent_more(after: Status, moved: bool) -> None:
    assert has_moved(COPYING, after) is moved


def test_a_pass_that_waits_for_its_commit_does_not_stand_still() -> None:
    whole = with_disk(seen=100)
    assert has_moved(whole, whole)


@pytest.mark.parametrize("activity", ["following", "resting", "failing", "cutting", "starting"])
def test_what_is_no_pass_does_not_stand_still(activity: str) -> None:
    at_rest = replace(COPYING, activity=activity)
    assert has_moved(at_rest, at_rest)


def test_a_first_heartbeat_moves() -> None:
    assert has_moved(None, COPYING)


@pytest.mark.parametrize(
    ("seconds", "heartbeat", "moving"), [(59, 1, True), (60, 1, False), (119, 20, True), (120, 20, False)]
)
def test_several_heartbeats_are_waited_for(seconds: int, heartbeat: int, moving: bool) -> None:
    assert is_moving(NOW - seconds * SECOND, NOW, heartbeat) is moving
    assert is_moving(None, NOW, heartbeat)


def test_falling_behind_for_ten_minutes_is_said() -> None:
    assert not is_diverging(None, NOW)
    assert not is_diverging(NOW - 599 * SECOND, NOW)
    assert is_diverging(NOW - 600 * SECOND, NOW)


def test_the_first_skew_is_taken_as_it_is_and_later_ones_are_smoothed() -> None:
    assert smoothed(None, NOW + 3 * SECOND, NOW) == 3000
    assert smoothed(3000, NOW + 4 * SECOND, NOW) == 3250
    assert smoothed(3000, NOW - 3600 * SECOND, NOW) == -3_600_000, "a clock that was set counts at once"


def test_a_wrong_clock_does_not_change_the_lag() -> None:
    for ahead in (-3600, 0, 3600):
        source_time = NOW - 8 * SECOND + ahead * SECOND
        assert lag(source_time, NOW - 5 * SECOND, ahead * 1000, NOW) == 8 * SECOND
    assert lag(NOW + SECOND, NOW + SECOND, 0, NOW) == timedelta()


def test_a_checkpoint_of_a_clock_that_was_set_back_is_as_old_as_it_was_made() -> None:
    """It states the time of the one before it, of a day that the source's clock has still before it."""
    day_ahead = NOW + 86400 * SECOND
    assert lag(day_ahead, NOW - 30 * SECOND, 0, NOW) == 30 * SECOND
