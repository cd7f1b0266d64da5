"""What many heartbeats show and one does not: a pass that stands still, a backlog that is not worked off."""

from datetime import datetime, timedelta
from typing import Final

from app.contract.words import AgentActivity
from app.migration.replication.states import PASSING
from app.wire.heartbeat import Status

STILL_HEARTBEATS: Final = 6
STILL_SECONDS: Final = 60
"""A pass that did not get on for so many heartbeats, and so long at least, stands still: the agent itself
outlasts a service that is away for half a minute."""

DIVERGING_SECONDS: Final = 600
"""A burst of writes may outrun the link for some minutes; for longer it has to be said."""


def has_moved(before: Status | None, after: Status) -> bool:
    """Whether the pass got on between two heartbeats. What is seen whole waits for its commit, and may."""
    if before is None or before.activity != after.activity:
        return True
    if AgentActivity(after.activity) not in PASSING or all(disk.seen >= disk.size for disk in after.disks):
        return True
    return _done(before) != _done(after)


def _done(status: Status) -> tuple[tuple[str, int, int, int], ...]:
    return tuple((disk.key, disk.seen, disk.sent, disk.known) for disk in status.disks)


def is_moving(moved_at: datetime | None, now: datetime, heartbeat_seconds: int) -> bool:
    """Whether a pass that got on last at `moved_at` still counts as moving."""
    patience = timedelta(seconds=max(STILL_SECONDS, STILL_HEARTBEATS * heartbeat_seconds))
    return moved_at is None or now - moved_at < patience


def is_diverging(since: datetime | None, now: datetime) -> bool:
    """Whether more was written than sent for long enough to say so."""
    return since is not None and now - since >= timedelta(seconds=DIVERGING_SECONDS)
