"""Preflights of a server: asking for one, and reading what came of it."""

from fastapi import APIRouter

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.contract.resources.base import Listing
from app.contract.resources.preflight import Preflight
from app.kit.transaction import Uow
from app.migration.preflight import service

router = APIRouter(route_class=UnitRoute)


@router.post("/servers/{server}:preflight", status_code=202)
async def request_preflight(uow: Uow, who: Operator, record: Audit, server: str) -> Preflight:
    """Let the server's running agent measure its host and the way here; one that waits already stands."""
    found, asked = await service.request(uow, who.scope, server)
    await record("server.preflight", found.id, found.project_id, preflight=asked.id)
    return asked


@router.get("/servers/{server}/preflights")
async def list_preflights(
    uow: Uow, serving: Serving, who: Viewer, page: Paging, server: str
) -> Listing[Preflight]:
    """The preflights of a server, the newest first."""
    return listing(Preflight, await service.list_preflights(uow, serving, who.scope, server, page))


@router.get("/servers/{server}/preflights/{preflight}")
async def get_preflight(uow: Uow, serving: Serving, who: Viewer, server: str, preflight: str) -> Preflight:
    """One preflight, by id or `latest`."""
    return await service.get_preflight(uow, serving, who.scope, server, preflight)
