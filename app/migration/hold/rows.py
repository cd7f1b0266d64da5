"""Rows of holds: found, locked, made, and seen as values."""

from typing import cast

from sqlalchemy import func, select

from app.contract.words import HoldCause, HoldPhase, HoldServices
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.hold.errors import HoldNotFound
from app.migration.hold.states import Hold, HoldHook
from app.migration.hold.tables import HoldRow
from app.migration.servers.errors import ServerNotFound
from app.migration.servers.tables import ServerRow
from app.wire.hold import HoldOrder


async def lock_server(uow: UnitOfWork, server_id: str) -> None:
    """Let other units that order a hold of the server wait until this one ends. Raises ServerNotFound."""
    query = select(ServerRow.id).where(ServerRow.id == server_id).with_for_update()
    if await uow.session.scalar(query) is None:
        raise ServerNotFound(f"there is no server {server_id}")


async def row_of(uow: UnitOfWork, server_id: str, cutover_id: str, *, locked: bool) -> HoldRow | None:
    """The hold of a server for a cutover as it is now; `locked` until the unit ends."""
    query = select(HoldRow).where(HoldRow.server_id == server_id, HoldRow.cutover_id == cutover_id)
    query = query.with_for_update() if locked else query
    return cast("HoldRow | None", await uow.session.scalar(query.execution_options(populate_existing=True)))


async def require_row(uow: UnitOfWork, server_id: str, cutover_id: str, *, locked: bool) -> HoldRow:
    """The same. Raises HoldNotFound."""
    row = await row_of(uow, server_id, cutover_id, locked=locked)
    if row is None:
        raise HoldNotFound(
            f"the server was never held for cutover {cutover_id}", remedy="stop its services first"
        )
    return row


async def new_row(
    uow: UnitOfWork, server_id: str, cutover_id: str, wanted: HoldPhase, seconds: int
) -> HoldRow:
    """A hold that stands, not yet added."""
    return HoldRow(
        id=new_id("hld"),
        server_id=server_id,
        cutover_id=cutover_id,
        standing_for=server_id,
        wanted=wanted,
        seconds=seconds,
        revision=await next_revision(uow, server_id),
        hooks=[],
        requested_at=uow.now,
        wanted_at=uow.now,
    )


async def next_revision(uow: UnitOfWork, server_id: str) -> int:
    """A number above all earlier ones of the server: the time in milliseconds, so that it is so as well where
    the database was restored from a backup."""
    query = select(func.max(HoldRow.revision)).where(HoldRow.server_id == server_id)
    return max((await uow.session.scalar(query) or 0) + 1, round(uow.now.timestamp() * 1000))


def order_of(row: HoldRow) -> HoldOrder:
    """What the agent is told."""
    return HoldOrder(row.cutover_id, row.wanted, row.seconds, row.revision)


def phase_of(row: HoldRow) -> HoldPhase | None:
    """What is reached."""
    return HoldPhase(row.reached) if row.reached else None


def view(row: HoldRow) -> Hold:
    """The row as a value."""
    return Hold(
        server_id=row.server_id,
        cutover_id=row.cutover_id,
        wanted=HoldPhase(row.wanted),
        reached=phase_of(row),
        services=HoldServices(row.services),
        cause=HoldCause(row.cause) if row.cause else None,
        seconds=row.seconds,
        code=row.code,
        detail=row.detail,
        checkpoint_id=row.checkpoint_id,
        frozen_ms=row.frozen_ms,
        hooks=tuple(HoldHook(**hook) for hook in row.hooks),  # type: ignore[arg-type]
        requested_at=row.requested_at,
        wanted_at=row.wanted_at,
        reported_at=row.reported_at,
        quiesced_at=row.quiesced_at,
        final_at=row.final_at,
        held_at=row.held_at,
        released_at=row.released_at,
    )
