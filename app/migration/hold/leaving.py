"""What becomes of a hold whose agent is lost, once its host, or one in its place, enrols again."""

from typing import Final

from sqlalchemy import select

from app.contract.words import HoldPhase, HoldServices
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.logging import get_logger
from app.migration.hold.tables import HoldRow
from app.migration.servers.tables import ServerRow

HOLDER_LOST: Final = "hold.holder_lost"

_UNTOUCHED: Final = (HoldServices.UNTOUCHED, HoldServices.NO_HOOK, HoldServices.STARTED)

_log = get_logger("go2cloud.hold")


async def forget_holder(uow: UnitOfWork, server: ServerRow) -> str | None:
    """Believe any agent of the server that its standing hold has ended, if its end is ordered.

    For a server, locked, that a host takes up again: its cutover was taken back, so no machine runs that
    could be a copy, and older credentials are about to be void. Only the lost agent had the proof. Returns
    the cutover for which that one stopped services, which nobody started since; None where there is none.
    """
    query = select(HoldRow).where(HoldRow.standing_for == server.id, HoldRow.wanted == HoldPhase.RELEASED)
    query = query.with_for_update().execution_options(populate_existing=True)
    row = await uow.session.scalar(query)
    if row is None:
        return None
    row.proof = ""
    await uow.session.flush()
    if row.services in _UNTOUCHED:
        return None
    _tell(uow, server, row)
    return row.cutover_id


def _tell(uow: UnitOfWork, server: ServerRow, row: HoldRow) -> None:
    detail = (
        "an earlier agent of the host stopped its services and never started them again; the one that enrols "
        "now does not either: look whether they run"
    )
    facts = {"cutover": row.cutover_id, "services": row.services, "detail": detail}
    _log.warning(HOLDER_LOST, server=server.id, **facts)
    uow.news.append(Event(HOLDER_LOST, uow.now, project=server.project_id, subject=server.id, data=facts))
