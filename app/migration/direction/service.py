"""What agents are told: a command once, and the orders of every feature each time."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import load_only

from app.kit.database import UnitOfWork
from app.migration.hold import service as holds
from app.migration.preflight import service as preflights
from app.migration.replication.orders import interval_of, orders_of
from app.migration.servers.enrolment import take_command
from app.migration.servers.tables import ServerRow
from app.migration.verification import service as verifications
from app.wire.heartbeat import Orders

_ORDERED = (
    ServerRow.goal,
    ServerRow.checkpoint_interval_seconds,
    ServerRow.rescan_request,
    ServerRow.wire_rate,
    ServerRow.sync_requested,
)


@dataclass(frozen=True, slots=True)
class Direction:
    """What an agent is told: a command once, the seconds between checkpoints and the orders every time.

    The rate in `orders` is the server's own limit only: its share of other limits is asked for when the
    answer goes out, as it changes too often to be news.
    """

    command: str
    interval_seconds: int
    orders: Orders


async def direct(uow: UnitOfWork, server: ServerRow, default_seconds: int, *, takes: bool) -> Direction:
    """What to tell the server's agent now; its command is handed out if it `takes` one."""
    has_command = takes and await take_command(uow, server.id)
    orders = replace(
        orders_of(server),
        preflight=await preflights.ordered(uow, server.id),
        verification=await verifications.standing(uow, server.id),
        hold=await holds.ordered(uow, server.id),
    )
    return _direction(server, default_seconds, orders, has_command=has_command)


async def directions(uow: UnitOfWork, default_seconds: int) -> Mapping[str, Direction]:
    """What the agents of all servers with a lease would be told, in four queries; nothing is handed out."""
    alive = select(ServerRow).where(ServerRow.lease_until >= uow.now)
    rows = await uow.session.scalars(alive.options(load_only(*_ORDERED, raiseload=True)))
    wanted, standing = await preflights.all_ordered(uow), await verifications.all_standing(uow)
    held = await holds.all_ordered(uow)
    return {
        row.id: _direction(
            row,
            default_seconds,
            replace(
                orders_of(row),
                preflight=wanted.get(row.id, ""),
                verification=standing.get(row.id, ""),
                hold=held.get(row.id),
            ),
            has_command=row.sync_requested,
        )
        for row in rows
    }


def _direction(server: ServerRow, default_seconds: int, orders: Orders, *, has_command: bool) -> Direction:
    return Direction("sync" if has_command else "none", interval_of(server, default_seconds), orders)
