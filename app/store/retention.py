"""Which checkpoints stay: a pure function of their times and the policy.

Kept are all of the last hour, the newest of each hour of the last day, the newest of each day of the last
week, and always the newest one, the newest frozen one, and every pinned one. Hours and days are those of UTC.
Because it is the newest of an hour or day that stays, what one run keeps contains all that any later run
keeps of it: running often never loses what running seldom would keep.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class RetentionPolicy:
    """How long checkpoints of each density stay."""

    every: timedelta = timedelta(hours=1)
    hourly: timedelta = timedelta(days=1)
    daily: timedelta = timedelta(days=7)


@dataclass(frozen=True)
class Point:
    """A checkpoint of one server; `pinned`: head, base of an open session, tested or cut over. `made_at` is
    by the service's clock."""

    id: str
    made_at: datetime
    is_frozen: bool = False
    pinned: bool = False


def retained(points: Iterable[Point], policy: RetentionPolicy, now: datetime) -> frozenset[str]:
    """The ids of those of one server's checkpoints that stay."""
    ordered = sorted(points, key=lambda point: (point.made_at, point.id), reverse=True)
    kept = {point.id for point in ordered if point.pinned or now - point.made_at <= policy.every}
    kept.update(point.id for point in ordered[:1])
    kept.update(point.id for point in [point for point in ordered if point.is_frozen][:1])
    kept.update(_newest_of_each(ordered, timedelta(hours=1), now - policy.hourly))
    kept.update(_newest_of_each(ordered, timedelta(days=1), now - policy.daily))
    return frozenset(kept)


def _newest_of_each(ordered: Sequence[Point], span: timedelta, since: datetime) -> Iterable[str]:
    """The first (newest) point of each span of time that is not older than `since`."""
    newest: dict[int, str] = {}
    for point in ordered:
        if point.made_at >= since:
            newest.setdefault(int(point.made_at.timestamp() // span.total_seconds()), point.id)
    return newest.values()
