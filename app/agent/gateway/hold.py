"""The hold on the wire: what the agent of a source says of its services during a cutover."""

from fastapi import APIRouter, Request, Response

from app.agent.gateway.answers import HEADERS
from app.agent.gateway.intake import Agent, Name, Serving, message
from app.kit.bus import Event
from app.kit.logging import get_logger
from app.migration.hold import service
from app.migration.hold.states import Hold
from app.migration.services import Services
from app.migration.verification.heads import project_of
from app.wire.chunks import MIB
from app.wire.hold import HoldReport

router = APIRouter()

REPORT_BYTES = MIB

_log = get_logger("go2cloud.hold")


@router.post("/holds/{cutover}/report")
async def report(request: Request, services: Serving, server: Agent, cutover: Name) -> Response:
    """How far the agent is with the hold of its own server for this cutover."""
    found = await message(request, HoldReport, REPORT_BYTES)
    hold = await services.database.run(lambda uow: service.report(uow, server, cutover, found))
    if hold is not None:
        await _tell(services, hold)
    return Response(status_code=204, headers=HEADERS)


async def _tell(services: Services, hold: Hold) -> None:
    facts = {
        "cutover": hold.cutover_id,
        "wanted": hold.wanted.value,
        "reached": hold.reached.value if hold.reached else None,
        "services": hold.services.value,
        "code": hold.code,
    }
    log = _log.warning if hold.code else _log.info
    log("hold.reported", server=hold.server_id, detail=hold.detail, **facts)
    async with services.database.reading() as uow:
        project = await project_of(uow, hold.server_id)
    at = services.clock.now()
    await services.bus.publish(
        Event("hold.reported", at, project=project, subject=hold.server_id, data=facts)
    )
