"""The standing of a server's replication in its row: the one place that writes it, and tells of a change.

A change is announced after its transaction: an event on the bus, a count, and a log line when replication
begins to fail and when it works again. What goes on failing for the same reason says nothing more. That it
begins to fail, or works again, is also news of the transaction itself, which subscriptions hear of.
"""

from dataclasses import dataclass
from datetime import datetime

from app.contract.callbackwords import EventKind
from app.contract.words import ReplicationReason, ReplicationState
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.logging import get_logger
from app.migration.replication.meters import STATE_CHANGES
from app.migration.replication.states import FAILING, Lease, Standing, shown
from app.migration.servers.tables import ServerRow
from app.migration.services import Services

_log = get_logger("go2cloud.replication")


@dataclass(frozen=True, slots=True)
class Change:
    """A server's replication stands otherwise than before."""

    server: str
    project: str
    before: Standing
    after: Standing

    @property
    def turn(self) -> EventKind | None:
        """Whether replication begins to fail with it, or works again."""
        fails, failed = self.after.state in FAILING, self.before.state in FAILING
        if fails == failed:
            return None
        return EventKind.FAILING if fails else EventKind.RECOVERED


def kept(row: ServerRow) -> Standing:
    """The standing as the last heartbeat left it."""
    reason = ReplicationReason(row.replication_reason) if row.replication_reason else None
    return Standing(ReplicationState(row.replication_state), reason)


def lease_of(row: ServerRow, now: datetime) -> Lease:
    """Whether the agent is there. Without a lease it said good-bye, if it is known to have stopped."""
    if row.lease_until is None:
        stopped = row.replication_state == ReplicationState.STOPPED
        return Lease.RELEASED if stopped else Lease.LOST
    return Lease.HELD if row.lease_until >= now else Lease.LOST


def standing_of(row: ServerRow, now: datetime) -> Standing:
    """How replication of a server stands now."""
    return shown(kept(row), lease_of(row, now))


def since_of(row: ServerRow, now: datetime) -> datetime | None:
    """Since when it stands so; None where that is not known."""
    is_kept = standing_of(row, now) == kept(row)
    return row.replication_since if is_kept else row.lease_until


def settle(uow: UnitOfWork, row: ServerRow, after: Standing) -> Change | None:
    """Write a standing into the row; the change, if it is one."""
    before = kept(row)
    if before == after:
        return None
    row.replication_state, row.replication_reason = after.state, after.reason
    row.replication_since = uow.now
    change = Change(row.id, row.project_id, before, after)
    if change.turn is not None:
        data = {"state": after.state.value, "reason": after.reason.value if after.reason else None}
        uow.news.append(Event(change.turn, uow.now, project=row.project_id, subject=row.id, data=data))
    return change


async def announce(services: Services, change: Change | None) -> None:
    """Tell of a change whose transaction is committed."""
    if change is None:
        return
    after = change.after
    STATE_CHANGES.labels(after.state).inc()
    _log_change(change)
    data = {"state": after.state.value, "reason": after.reason.value if after.reason else None}
    await services.bus.publish(
        Event(
            "server.replication",
            services.clock.now(),
            project=change.project,
            subject=change.server,
            data=data,
        )
    )


def _log_change(change: Change) -> None:
    """The first failure and the recovery; in between a server may change its state every few seconds."""
    fails, failed = change.after.state in FAILING, change.before.state in FAILING
    facts = {"server": change.server, "state": change.after.state, "reason": change.after.reason}
    if fails:
        _log.warning("replication.failing", **facts)
    elif failed:
        _log.info("replication.recovered", **facts)
