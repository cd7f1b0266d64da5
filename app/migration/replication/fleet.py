"""A look at all servers, in one query every LOOK_SECONDS: lost agents are named, gauges are set.

It runs beside the agent tier, in each of its processes; whoever sees first that an agent is gone says it.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import load_only

from app.contract.words import LifecycleState, ReplicationState
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.replication import meters
from app.migration.replication.clocks import lag
from app.migration.replication.heartbeat import backlog_of, note_lost
from app.migration.replication.standing import announce, kept, lease_of, standing_of
from app.migration.replication.states import Lease
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services

LOOK_SECONDS: Final = 10.0

_SEEN = (
    ServerRow.project_id,
    ServerRow.replication_state,
    ServerRow.replication_reason,
    ServerRow.lease_until,
    ServerRow.clock_skew_ms,
    ServerRow.status,
)

_log = get_logger("go2cloud.fleet")


@dataclass(frozen=True, slots=True)
class Sight:
    """One server at a glance; `age` is that of its newest checkpoint since the commit.

    `is_held`: its agent holds its lease. `is_news`: its agent is gone, and its row does not say so yet.
    """

    server: str
    project: str
    state: ReplicationState
    lag: timedelta | None
    age: timedelta | None
    backlog_bytes: int | None
    is_held: bool
    is_news: bool


async def sights(uow: UnitOfWork) -> tuple[Sight, ...]:
    """All servers that are not disconnected for good."""
    rows = await uow.session.execute(
        select(ServerRow, CheckpointRow.source_time, CheckpointRow.created_at)
        .options(load_only(*_SEEN, raiseload=True))
        .outerjoin(CheckpointRow, CheckpointRow.id == ServerRow.head_checkpoint_id)
        .where(ServerRow.lifecycle_state != LifecycleState.DISCONNECTED, ServerRow.archived.is_(False))
    )
    return tuple(_sight(server, shown, made, uow.now) for server, shown, made in rows)


def _sight(server: ServerRow, shown: datetime | None, made: datetime | None, now: datetime) -> Sight:
    """Of a server whose head shows the source at `shown` and was made at `made`."""
    standing = standing_of(server, now)
    return Sight(
        server=server.id,
        project=server.project_id,
        state=standing.state,
        lag=lag(shown, made, server.clock_skew_ms, now) if shown and made else None,
        age=now - made if made else None,
        backlog_bytes=backlog_of(server),
        is_held=lease_of(server, now) is Lease.HELD,
        is_news=standing != kept(server),
    )


async def watch(services: Services) -> None:
    """Look for ever; a database that is away is said once, and looked for again."""
    is_failing = False
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await look(services)
        except (Go2CloudError, SQLAlchemyError) as error:
            if not is_failing:
                _log.warning("fleet.look_failed", error=str(error))
            is_failing = True
        else:
            is_failing = False


async def look(services: Services) -> None:
    """One look: name who is lost, then set the gauges."""
    async with services.database.reading() as uow:
        seen = await sights(uow)
    for sight in seen:
        if sight.is_news:
            await announce(services, await services.database.run(partial(note_lost, server_id=sight.server)))
    _measure(seen)


def _measure(seen: Iterable[Sight]) -> None:
    """Set the gauges anew; servers that are gone leave no series behind."""
    meters.LAG_SECONDS.clear()
    meters.BACKLOG_BYTES.clear()
    meters.CHECKPOINT_AGE_SECONDS.clear()
    meters.REPLICATING.clear()
    states: Counter[ReplicationState] = Counter()
    held = 0
    for sight in seen:
        held += sight.is_held
        is_idle = sight.state in (ReplicationState.STOPPED, ReplicationState.PAUSED)
        meters.REPLICATING.labels(sight.server, sight.project).set(not is_idle)
        states[sight.state] += 1
        if sight.lag is not None:
            meters.LAG_SECONDS.labels(sight.server, sight.project).set(sight.lag.total_seconds())
        if sight.age is not None:
            age = meters.CHECKPOINT_AGE_SECONDS.labels(sight.server, sight.project)
            age.set(sight.age.total_seconds())
        if sight.backlog_bytes is not None:
            meters.BACKLOG_BYTES.labels(sight.server, sight.project).set(sight.backlog_bytes)
    meters.SESSIONS.set(held)
    for state in ReplicationState:
        meters.SERVERS.labels(state).set(states[state])
