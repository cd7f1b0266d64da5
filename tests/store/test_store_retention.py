"""The retention policy: what must always stay, and that running often loses nothing."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from app.store.retention import Point, RetentionPolicy, retained

NOW = datetime(2026, 6, 15, 12, 34, 56, tzinfo=UTC)
POLICY = RetentionPolicy()

ages = st.integers(0, 10 * 24 * 3600).map(lambda seconds: timedelta(seconds=seconds))
histories = st.lists(st.tuples(ages, st.booleans(), st.integers(0, 9)), max_size=60).map(
    lambda made: [
        Point(f"chk-{number}", NOW - age, is_frozen=frozen, pinned=luck == 0)
        for number, (age, frozen, luck) in enumerate(made)
    ]
)


def kept_of(points: list[Point], now: datetime = NOW) -> list[Point]:
    kept = retained(points, POLICY, now)
    return [point for point in points if point.id in kept]


@given(points=histories)
def test_pinned_head_newest_frozen_and_the_last_hour_always_stay(points: list[Point]) -> None:
    kept = set(kept_of(points))
    assert kept >= {point for point in points if point.pinned or NOW - point.made_at <= POLICY.every}
    for group in (points, [point for point in points if point.is_frozen]):
        if group:
            assert max(point.made_at for point in group) in {point.made_at for point in kept}


@given(points=histories)
def test_every_hour_of_a_day_and_every_day_of_a_week_keeps_its_newest(points: list[Point]) -> None:
    kept = set(kept_of(points))
    for point in points:
        age = NOW - point.made_at
        same_hour = [p for p in points if _slot(p, 3600) == _slot(point, 3600)]
        same_day = [p for p in points if _slot(p, 86400) == _slot(point, 86400)]
        if age <= POLICY.hourly:
            assert max(p.made_at for p in same_hour) in {p.made_at for p in kept}
        if age <= POLICY.daily:
            assert max(p.made_at for p in same_day) in {p.made_at for p in kept}


@given(points=histories, later=st.lists(ages, min_size=1, max_size=6))
def test_running_often_keeps_all_that_running_once_would_keep(
    points: list[Point], later: list[timedelta]
) -> None:
    times = sorted(NOW + age for age in later)
    remaining = points
    for now in times:
        remaining = kept_of(remaining, now)
    assert remaining == kept_of(points, times[-1])


def test_a_week_of_a_checkpoint_a_minute_comes_down_to_what_the_policy_says() -> None:
    points = [Point(f"chk-{n}", NOW - timedelta(minutes=n)) for n in range(10 * 24 * 60)]
    kept = kept_of(points)
    assert 61 + 22 + 6 <= len(kept) <= 61 + 25 + 8
    assert all(a.made_at > b.made_at for a, b in pairwise(kept))
    assert NOW - kept[-1].made_at <= POLICY.daily


def test_nothing_kept_of_nothing() -> None:
    assert retained([], POLICY, NOW) == frozenset()


def _slot(point: Point, seconds: int) -> int:
    return int(point.made_at.timestamp() // seconds)
