"""Why a server should not be cut over now: what refuses it, and what a reason passes over."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from app.contract.words import ReplicationGoal, ReplicationState
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.migration.cutover.errors import HeadDegraded, NotFrozen, ReplicationUnhealthy
from app.migration.cutover.queries import NEWEST_LABELS, can_be_frozen
from app.migration.launch.queries import content_of
from app.migration.replication.standing import standing_of
from app.migration.servers.tables import ServerRow

HEALTHY: Final = frozenset(
    (ReplicationState.CONTINUOUS, ReplicationState.BACKLOG, ReplicationState.CREATING_SNAPSHOT)
)
"""States in which the last changes of a source can be had soon."""


@dataclass(frozen=True)
class Doubt:
    """A refusal; a reason given with the order may pass over it, or not."""

    refusal: Go2CloudError
    can_be_overridden: bool = False


async def doubts_of(uow: UnitOfWork, server: ServerRow) -> tuple[Doubt, ...]:
    """The doubts about a server's replica as it stands, the gravest first."""
    unhealthy = _unhealthy(uow, server)
    found = [Doubt(unhealthy)] if unhealthy is not None else []
    if not await can_be_frozen(uow, server.id):
        found.append(Doubt(_not_frozen(server)))
    unreadable = (await content_of(uow, server.head_checkpoint_id or "")).unreadable_bytes
    if unreadable:
        found.append(Doubt(_degraded(server, unreadable), can_be_overridden=True))
    return tuple(found)


def require_none(doubts: Iterable[Doubt], override: str | None) -> tuple[str, ...]:
    """The codes of the doubts that the reason passes over. Raises the first one that it does not."""
    passed_over = []
    for doubt in doubts:
        if override is None or not doubt.can_be_overridden:
            raise doubt.refusal
        passed_over.append(doubt.refusal.code)
    return tuple(passed_over)


def _unhealthy(uow: UnitOfWork, server: ServerRow) -> Go2CloudError | None:
    standing = standing_of(server, uow.now)
    if server.goal == ReplicationGoal.RUN and standing.state in HEALTHY:
        return None
    why = f" ({standing.reason})" if standing.reason else ""
    return ReplicationUnhealthy(
        f"replication of server {server.name!r} is {standing.state}{why}, its goal {server.goal}",
        remedy=f"let it be CONTINUOUS first: go2cloud server replication {server.name}",
        replicationState=standing.state.value,
    )


def _not_frozen(server: ServerRow) -> Go2CloudError:
    return NotFrozen(
        f"none of the newest {NEWEST_LABELS} checkpoints of server {server.name!r} is frozen",
        remedy="see in docs/replication.md what keeps a source from being frozen",
    )


def _degraded(server: ServerRow, unreadable: int) -> Go2CloudError:
    return HeadDegraded(
        f"{unreadable} bytes of the newest checkpoint of server {server.name!r} are zeros: the source could "
        "not read them",
        remedy="repair the source's disk and order a rescan; or override with a reason",
        unreadableBytes=unreadable,
    )
