"""Holds: what a cutover wants of a source, and what came of it.

A cutover calls `quiesce`, `finish`, `keep` in this order, each when `standing` says that the one before is
reached, and `release` at any time. Each may be repeated. Only when HELD is reached may a machine be launched:
from then on the agent gives the services back for no other reason than an order.
"""

from datetime import datetime, timedelta

from sqlalchemy import select, update

from app.contract.words import HoldPhase, HoldServices
from app.kit.database import UnitOfWork
from app.kit.errors import Invalid
from app.migration.hold.errors import HoldEnded, HoldNotReached, HoldStands, SourceReleased
from app.migration.hold.reports import report
from app.migration.hold.rows import (
    lock_server,
    new_row,
    next_revision,
    order_of,
    phase_of,
    require_row,
    row_of,
    view,
)
from app.migration.hold.states import Hold, rank
from app.migration.hold.tables import HoldRow
from app.migration.servers.news import tell_ordered
from app.wire.hold import LONGEST_SECONDS, HoldOrder

__all__ = [
    "all_ordered",
    "finish",
    "keep",
    "may_take_lease",
    "ordered",
    "quiesce",
    "release",
    "renew",
    "report",
    "standing",
]

P = HoldPhase


async def quiesce(uow: UnitOfWork, server_id: str, cutover_id: str, seconds: int) -> None:
    """Want the source's services stopped; an agent that hears nothing for `seconds` gives them back.

    Raises ServerNotFound, HoldStands, HoldEnded, SourceReleased, Invalid BAD_HOLD_TIME.
    """
    if not 1 <= seconds <= LONGEST_SECONDS:
        raise Invalid(
            f"services cannot be held for {seconds} seconds without news",
            code="BAD_HOLD_TIME",
            remedy=f"choose 1 to {LONGEST_SECONDS}",
        )
    await lock_server(uow, server_id)
    known = await row_of(uow, server_id, cutover_id, locked=True)
    if known is not None:
        _require_not_ended(known)
        return
    await _require_free(uow, server_id)
    uow.session.add(await new_row(uow, server_id, cutover_id, P.QUIESCED, seconds))
    await uow.session.flush()
    tell_ordered(uow, server_id)


async def _require_free(uow: UnitOfWork, server_id: str) -> None:
    stands = await uow.session.scalar(select(HoldRow).where(HoldRow.standing_for == server_id))
    if stands is not None:
        raise HoldStands(
            f"the source is held for cutover {stands.cutover_id}: {stands.wanted} is wanted, "
            f"{stands.reached or 'nothing'} is reached",
            remedy="revert that one first, and wait until its agent has given the services back",
            cutoverId=stands.cutover_id,
        )


def _require_not_ended(row: HoldRow) -> None:
    if row.wanted == P.RELEASED:
        raise HoldEnded(f"the hold for cutover {row.cutover_id} was released", remedy="begin a new cutover")
    if row.reached == P.RELEASED:
        raise SourceReleased(
            f"the source gave its services back by itself ({row.cause}): {row.detail}",
            remedy="release the hold and begin a new cutover",
        )


async def finish(uow: UnitOfWork, server_id: str, cutover_id: str) -> None:
    """Want the final checkpoint.

    Raises HoldNotFound, HoldEnded, HoldNotReached before QUIESCED is reached, SourceReleased.
    """
    await _want(uow, server_id, cutover_id, P.FINAL, after=P.QUIESCED)


async def keep(uow: UnitOfWork, server_id: str, cutover_id: str) -> None:
    """Want the services stopped until an order says otherwise; a launch waits until this is reached.

    Raises HoldNotFound, HoldEnded, HoldNotReached before FINAL is reached, SourceReleased.
    """
    await _want(uow, server_id, cutover_id, P.HELD, after=P.FINAL)


async def _want(uow: UnitOfWork, server_id: str, cutover_id: str, phase: HoldPhase, after: HoldPhase) -> None:
    row = await require_row(uow, server_id, cutover_id, locked=True)
    _require_not_ended(row)
    if rank(P(row.wanted)) >= rank(phase):
        return
    if rank(phase_of(row)) < rank(after) or row.code:
        raise HoldNotReached(
            f"{phase} cannot be wanted: the source reached {row.reached or 'nothing'}, not {after}"
            + (f" ({row.code}: {row.detail})" if row.code else ""),
            remedy="wait for the agent's report, or release the hold",
        )
    await _order(uow, row, phase)


async def _order(uow: UnitOfWork, row: HoldRow, phase: HoldPhase) -> None:
    row.wanted, row.wanted_at = phase, uow.now
    row.revision = await next_revision(uow, row.server_id)
    await uow.session.flush()
    tell_ordered(uow, row.server_id)


async def renew(uow: UnitOfWork, server_id: str, cutover_id: str) -> None:
    """The cutover goes on. Once this was called it has to come again within the hold's time.

    Else the agent hears no more of a hold that is not firm, and its dead-man gives the services back: they
    do not stay stopped for a job that nobody leads on, whose node is lost or has no worker free.
    """
    mine = update(HoldRow).where(HoldRow.server_id == server_id, HoldRow.cutover_id == cutover_id)
    await uow.session.execute(mine.values(renewed_at=uow.now))


def _is_told(row: HoldRow, now: datetime) -> bool:
    is_loose = row.wanted in (P.QUIESCED, P.FINAL)
    is_alive = row.renewed_at is None or now - row.renewed_at <= timedelta(seconds=row.seconds)
    return is_alive or not is_loose


async def release(uow: UnitOfWork, server_id: str, cutover_id: str) -> None:
    """Want the services given back. No machine that was made for the cutover may run any more.

    A cutover that held nothing until now cannot do so later. Raises ServerNotFound.
    """
    await lock_server(uow, server_id)
    row = await row_of(uow, server_id, cutover_id, locked=True)
    if row is None:
        row = await new_row(uow, server_id, cutover_id, P.RELEASED, seconds=1)
        row.standing_for, row.reached, row.services = None, P.RELEASED, HoldServices.UNTOUCHED
        uow.session.add(row)
        await uow.session.flush()
    elif row.wanted != P.RELEASED:
        row.standing_for = None if row.reached == P.RELEASED else row.standing_for
        await _order(uow, row, P.RELEASED)


async def standing(uow: UnitOfWork, server_id: str, cutover_id: str) -> Hold:
    """How the hold stands. Raises HoldNotFound."""
    return view(await require_row(uow, server_id, cutover_id, locked=False))


async def ordered(uow: UnitOfWork, server_id: str) -> HoldOrder | None:
    """What the server's agent is told about its hold; None where none stands, or its cutover fell silent."""
    row = await uow.session.scalar(select(HoldRow).where(HoldRow.standing_for == server_id))
    return None if row is None or not _is_told(row, uow.now) else order_of(row)


async def may_take_lease(uow: UnitOfWork, server_id: str, proof: str | None = None) -> bool:
    """Whether an agent may take the server's lease that does not hold it.

    Once HELD was reached, until the services are given back, only the agent that proves to hold may: any
    other one that shows the credential may be that of a copy, the launched machine.
    """
    held = select(HoldRow.proof).where(HoldRow.standing_for == server_id, HoldRow.proof != "")
    wanted = await uow.session.scalar(held)
    return wanted is None or wanted == proof


async def all_ordered(uow: UnitOfWork) -> dict[str, HoldOrder]:
    """What agents are told about holds, by their servers' ids."""
    rows = await uow.session.scalars(select(HoldRow).where(HoldRow.standing_for.is_not(None)))
    return {row.server_id: order_of(row) for row in rows if _is_told(row, uow.now)}
