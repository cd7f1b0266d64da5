"""The way back of a server: the launched machine replicates as a server of its own, `reverse_of` the source.

It has a credential, disks and a chain of checkpoints of its own, and no lifecycle: it is NOT_READY, and
DISCONNECTED once it has ended. A server has at most one that has not ended.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import select, update

from app.contract.words import LifecycleState, ReplicationGoal
from app.kit.database import UnitOfWork
from app.migration.access.agents import revoke_agent_credentials
from app.migration.access.install_tokens import revoke_reverse_tokens
from app.migration.servers.errors import ReverseRefused, ServerNotFound
from app.migration.servers.tables import ServerRow
from app.wire.messages import Inventory

REVERSIBLE: Final = frozenset((LifecycleState.CUTTING_OVER, LifecycleState.CUTOVER))
"""States in which the source is held, so that the launched machine is the one active side."""


def has_ended(reverse: ServerRow) -> bool:
    """Whether nothing of this way back can be replicated any more."""
    return reverse.lifecycle_state == LifecycleState.DISCONNECTED


async def newest_reverses(uow: UnitOfWork, server_ids: Sequence[str]) -> dict[str, ServerRow]:
    """The newest way back of each server that ever had one, ended or not, by the server's id."""
    rows = await uow.session.scalars(
        select(ServerRow)
        .where(ServerRow.reverse_of.in_(server_ids))
        .order_by(ServerRow.id)
        .execution_options(populate_existing=True)
    )
    return {row.reverse_of: row for row in rows if row.reverse_of is not None}


async def newest_reverse(uow: UnitOfWork, server_id: str) -> ServerRow | None:
    """The newest way back of a server; None where it never had one."""
    return (await newest_reverses(uow, [server_id])).get(server_id)


async def require_reversible(
    uow: UnitOfWork, server_id: str, inventory: Inventory | None = None
) -> ServerRow:
    """The server, locked, that may get a way back now: from the host with this inventory, if it is there.

    Raises ReverseRefused.
    """
    server = await _held(uow, server_id)
    if server.lifecycle_state not in REVERSIBLE:
        raise ReverseRefused(
            f"server {server.name!r} is {server.lifecycle_state}: its source is not held",
            code="NOT_CUT_OVER",
            remedy="a way back begins after a cutover",
        )
    standing = await newest_reverse(uow, server_id)
    if standing is not None and not has_ended(standing):
        raise stands(server, standing)
    _require_another_host(server, inventory)
    return server


def stands(server: ServerRow, reverse: ServerRow) -> ReverseRefused:
    """The refusal where a server has a way back that has not ended."""
    return ReverseRefused(
        f"server {server.name!r} has a way back: {reverse.name!r}",
        code="REVERSE_STANDS",
        remedy=f"end it first: go2cloud server reverse {server.name} --stop",
        reverse=reverse.id,
    )


async def _held(uow: UnitOfWork, server_id: str) -> ServerRow:
    """The server's row, locked: whoever begins or ends its way back does it alone."""
    query = select(ServerRow).where(ServerRow.id == server_id).with_for_update()
    server = await uow.session.scalar(query.execution_options(populate_existing=True))
    if server is None:
        raise ServerNotFound(f"there is no server {server_id}")
    return server


def _require_another_host(server: ServerRow, inventory: Inventory | None) -> None:
    """The start of a kernel has an id of its own: the launched machine's is never the source's."""
    boot = inventory.boot_id if inventory is not None else ""
    if boot and boot == server.inventory.get("boot_id"):
        raise ReverseRefused(
            f"this host is the source of server {server.name!r} itself",
            code="REVERSE_AT_SOURCE",
            remedy="enrol inside of the launched machine",
        )


async def end_reverse(uow: UnitOfWork, server_id: str) -> ServerRow | None:
    """End the way back of a server: nobody enrols as it, its agent is shut out, its checkpoints stay.

    The newest one as it is then, None where there never was one. Repeating it changes nothing.
    """
    await revoke_reverse_tokens(uow, server_id)
    await _held(uow, server_id)
    reverse = await newest_reverse(uow, server_id)
    if reverse is None or has_ended(reverse):
        return reverse
    await revoke_agent_credentials(uow, reverse.id)
    values = {
        "goal": ReplicationGoal.STOP,
        "lifecycle_state": LifecycleState.DISCONNECTED,
        "sync_requested": False,
        "rescan_request": None,
        "version": ServerRow.version + 1,
    }
    await uow.session.execute(update(ServerRow).where(ServerRow.id == reverse.id).values(**values))
    return await newest_reverse(uow, server_id)
