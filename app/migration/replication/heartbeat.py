"""What a heartbeat tells: the agent's status, the source's clock, and how replication stands by them."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from app.contract.words import AgentActivity, ReplicationGoal, ReplicationReason, ReplicationState
from app.kit.clock import parsed_time
from app.kit.database import UnitOfWork
from app.kit.errors import BadRequest
from app.migration.replication.clocks import lag, smoothed
from app.migration.replication.forecast import forecast
from app.migration.replication.loads import Head, load_of
from app.migration.replication.meters import HEARTBEATS
from app.migration.replication.orders import orders_of
from app.migration.replication.progress import has_moved, is_diverging, is_moving
from app.migration.replication.standing import Change, kept, lease_of, settle
from app.migration.replication.states import Lease, Seen, Standing, standing
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import find_server
from app.migration.servers.tables import ServerRow
from app.wire import jsonform
from app.wire.heartbeat import Status


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Seconds between two heartbeats, and between two checkpoints of this server (0: only on command)."""

    heartbeat_seconds: int
    interval_seconds: int


def status_of(row: ServerRow) -> Status | None:
    """What the agent last said; None where it says nothing of the kind."""
    return None if row.status is None else jsonform.build(Status, row.status)


def backlog_of(server: ServerRow) -> int | None:
    """Bytes that the agent knows to be dirty and uncommitted; None where it reports nothing."""
    status = status_of(server)
    return None if status is None else sum(disk.backlog for disk in status.disks)


async def note_heartbeat(
    uow: UnitOfWork, server: ServerRow, status: Status | None, rhythm: Rhythm
) -> Change | None:
    """Keep what the agent said and derive how replication stands.

    Raises BadRequest UNKNOWN_ACTIVITY, UNKNOWN_REASON or BAD_CLOCK; then nothing is kept.
    """
    HEARTBEATS.inc()
    if status is None:
        return _note_silent(uow, server)
    heard = _Heard.of(status)
    head = await uow.session.get(CheckpointRow, server.head_checkpoint_id or "")
    before = status_of(server)
    first = None if server.status_at is None else server.clock_skew_ms
    server.clock_skew_ms = smoothed(first, heard.clock, uow.now)
    server.status, server.status_at = asdict(status), uow.now
    if has_moved(before, status) or server.moved_at is None:
        server.moved_at = uow.now
    is_close = _is_close(server, head, rhythm, uow.now)
    _note_divergence(server, status, head, is_close, uow.now)
    seen = Seen(
        goal=ReplicationGoal(server.goal),
        activity=heard.activity,
        reason=heard.reason,
        has_head=head is not None,
        is_close=is_close,
        is_moving=is_moving(server.moved_at, uow.now, rhythm.heartbeat_seconds),
        is_diverging=is_diverging(server.diverging_since, uow.now),
    )
    return settle(uow, server, standing(seen))


@dataclass(frozen=True, slots=True)
class _Heard:
    """The words of a status, understood."""

    activity: AgentActivity
    reason: ReplicationReason | None
    clock: datetime

    @classmethod
    def of(cls, status: Status) -> "_Heard":
        return cls(_activity(status.activity), _reason(status.reason), _clock(status.clock))


def _activity(text: str) -> AgentActivity:
    try:
        return AgentActivity(text)
    except ValueError as error:
        raise BadRequest(
            f"{text!r} is no activity that this service knows",
            code="UNKNOWN_ACTIVITY",
            remedy="upgrade the older of agent and service",
            allowed=[each.value for each in AgentActivity],
        ) from error


def _reason(text: str) -> ReplicationReason | None:
    try:
        return ReplicationReason(text) if text else None
    except ValueError as error:
        raise BadRequest(
            f"{text!r} is no reason that this service knows",
            code="UNKNOWN_REASON",
            remedy="upgrade the older of agent and service",
            allowed=[each.value for each in ReplicationReason],
        ) from error


def _clock(text: str) -> datetime:
    try:
        return parsed_time(text)
    except ValueError as error:
        raise BadRequest(f"the agent's clock: {error}", code="BAD_CLOCK") from error


def _is_close(server: ServerRow, head: CheckpointRow | None, rhythm: Rhythm, now: datetime) -> bool:
    """Whether the lag is within twice the interval; without an interval no lag is."""
    if head is None:
        return False
    behind = lag(head.source_time, head.created_at, server.clock_skew_ms, now)
    return behind <= 2 * timedelta(seconds=rhythm.interval_seconds)


def _note_divergence(
    server: ServerRow, status: Status, head: CheckpointRow | None, is_close: bool, now: datetime
) -> None:
    """Remember since when more is written than sent, both over 2 minutes; anything else forgets it."""
    if status.activity != AgentActivity.CATCHING_UP or is_close or head is None:
        server.diverging_since = None
        return
    made = Head(head.method, head.counters)
    load = load_of(status, made, orders_of(server).wire_rate, keeps_up=False)
    falls_behind = forecast(load).converges is False
    server.diverging_since = (server.diverging_since or now) if falls_behind else None


def _note_silent(uow: UnitOfWork, server: ServerRow) -> Change | None:
    """An agent that reports no status lives all the same: one that was not seen begins anew."""
    server.status = server.status_at = None
    if kept(server).state is ReplicationState.DISCONNECTED:
        return settle(uow, server, Standing(ReplicationState.INITIATING))
    return None


async def note_activity(
    uow: UnitOfWork, server_id: str, activity: AgentActivity, reason: ReplicationReason | None = None
) -> Change | None:
    """What a session shows of an agent that reports no status of its own; one that does knows better."""
    server = await find_server(uow, server_id)
    if server.status is not None and activity is not AgentActivity.FAILING:
        return None
    seen = Seen(
        ReplicationGoal(server.goal), activity, reason, has_head=server.head_checkpoint_id is not None
    )
    return settle(uow, server, standing(seen))


async def note_released(uow: UnitOfWork, server_id: str) -> Change | None:
    """The agent said good-bye."""
    return _leave(uow, await find_server(uow, server_id), Lease.RELEASED)


def _leave(uow: UnitOfWork, server: ServerRow, lease: Lease) -> Change | None:
    goal = ReplicationGoal(server.goal)
    return settle(
        uow, server, standing(Seen(goal, AgentActivity.STARTING, None, has_head=False, lease=lease))
    )


async def note_lost(uow: UnitOfWork, server_id: str) -> Change | None:
    """Say of an agent whose lease has ended that it is not seen; None when it came back, or is known to."""
    server = await uow.session.get_one(ServerRow, server_id, populate_existing=True, with_for_update=True)
    return _leave(uow, server, Lease.LOST) if lease_of(server, uow.now) is Lease.LOST else None
