"""How replication of a server stands, as the contract shows it."""

from dataclasses import asdict
from datetime import datetime, timedelta

from app.contract.resources.replication import (
    DiskReplication,
    LastCut,
    Replication,
    ReplicationForecast,
    ReplicationRates,
)
from app.contract.words import AgentActivity, ConsistencyLabel, ReplicationGoal, ReplicationState
from app.kit.database import UnitOfWork
from app.migration.replication.clocks import lag
from app.migration.replication.forecast import LONGEST, forecast
from app.migration.replication.heartbeat import backlog_of, status_of
from app.migration.replication.loads import Head, load_of
from app.migration.replication.orders import allowed_for, interval_of, orders_of
from app.migration.replication.standing import lease_of, since_of, standing_of
from app.migration.replication.states import Lease
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import disk_rows
from app.migration.servers.tables import ServerRow
from app.wire.heartbeat import DiskStatus, Status


async def replication_view(uow: UnitOfWork, row: ServerRow, default_interval_seconds: int) -> Replication:
    """The whole of it, for one server."""
    head = await uow.session.get(CheckpointRow, row.head_checkpoint_id or "")
    paths = {disk.disk_key: disk.path for disk in await disk_rows(uow, row.id)}
    standing = standing_of(row, uow.now)
    status = status_of(row)
    interval = interval_of(row, default_interval_seconds)
    return Replication(
        server_id=row.id,
        goal=ReplicationGoal(row.goal),
        state=standing.state,
        reason=standing.reason,
        detail=(status.detail or None) if status else None,
        since=since_of(row, uow.now),
        activity=AgentActivity(status.activity) if status else None,
        reported_at=row.status_at,
        eta=_duration(status.eta_ms) if status else None,
        lag=lag(head.source_time, head.created_at, row.clock_skew_ms, uow.now) if head else None,
        backlog_bytes=backlog_of(row),
        clock_skew_ms=row.clock_skew_ms if status else None,
        checkpoint_interval=timedelta(seconds=interval),
        wire_rate=orders_of(row).wire_rate,
        rescan_ordered=row.rescan_request is not None,
        rates=ReplicationRates(**asdict(status.rates)) if status else None,
        disks=tuple(_disk(disk, paths.get(disk.key)) for disk in status.disks) if status else (),
        last_cut=_last_cut(head),
        forecast=_forecast(row, status, head, uow.now) if status else None,
        allowed=allowed_for(row, standing.state),
    )


def _duration(milliseconds: int | None) -> timedelta | None:
    return (
        None if milliseconds is None else min(LONGEST, timedelta(seconds=min(milliseconds, 1 << 44) / 1000))
    )


def _disk(disk: DiskStatus, path: str | None) -> DiskReplication:
    return DiskReplication(
        key=disk.key,
        path=path,
        size_bytes=disk.size,
        used_bytes=disk.used,
        seen_bytes=disk.seen,
        sent_bytes=disk.sent,
        known_bytes=disk.known,
        backlog_bytes=disk.backlog,
        unreadable_bytes=disk.unreadable,
        tracker=disk.tracker or None,
        note=disk.note or None,
    )


def _last_cut(head: CheckpointRow | None) -> LastCut | None:
    if head is None:
        return None
    return LastCut(
        checkpoint_id=head.id,
        number=head.number,
        label=ConsistencyLabel(head.label),
        freeze_ms=head.freeze_ms,
        rounds=head.rounds,
        source_time=head.source_time,
    )


def _forecast(
    row: ServerRow, status: Status, head: CheckpointRow | None, now: datetime
) -> ReplicationForecast | None:
    """What becomes of it with the rate that the orders allow; None of an agent that is not there."""
    if lease_of(row, now) is not Lease.HELD:
        return None
    keeps_up = standing_of(row, now).state is ReplicationState.CONTINUOUS
    made = Head(head.method, head.counters) if head else None
    load = load_of(status, made, orders_of(row).wire_rate, keeps_up=keeps_up)
    return ReplicationForecast.model_validate(forecast(load))
