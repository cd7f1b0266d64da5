"""The source's clock against the service's, and the lag that follows from it.

A checkpoint is timed by the source's own clock. The skew is that clock minus the service's when a heartbeat
arrives; the way of the heartbeat (milliseconds) is in it, smoothing takes the jitter out.

A clock that is set back does not take the checkpoints back: they state the time of the one before until the
clock is past that. Their lag then follows from when they were made, which the service knows by its own clock.
"""

from datetime import datetime, timedelta
from typing import Final

STEP: Final = timedelta(seconds=10)
"""A difference of more than this is a clock that was set, not jitter: it counts at once."""

_WEIGHT: Final = 4
"""A new measurement counts a quarter: jitter of a second is a tenth after 8 heartbeats."""


def smoothed(before_ms: int | None, source: datetime, now: datetime) -> int:
    """The skew in milliseconds after a heartbeat that the source sent at `source` by its own clock."""
    measured = (source - now) // timedelta(milliseconds=1)
    if before_ms is None or abs(measured - before_ms) > STEP / timedelta(milliseconds=1):
        return measured
    return before_ms + round((measured - before_ms) / _WEIGHT)


def lag(source_time: datetime, created_at: datetime, skew_ms: int, now: datetime) -> timedelta:
    """How old a checkpoint of `source_time` is, which was made at `created_at`; never negative.

    It is at least as old as it was made, whatever the source's clock says.
    """
    by_source = now - source_time + timedelta(milliseconds=skew_ms)
    return max(by_source, now - created_at, timedelta())
