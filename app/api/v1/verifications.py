"""Online verifications: the running source compared with its replica by its agent."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.paging import Paging, listing
from app.contract.resources.base import Listing
from app.contract.resources.verification import Verification
from app.kit.transaction import Uow
from app.migration.catalogue.service import get_server
from app.migration.verification import service

router = APIRouter(route_class=UnitRoute)

VerificationRef = Annotated[str, Path(description="Id or latest")]


@router.post("/servers/{server}:verify", status_code=202)
async def verify_server(
    uow: Uow, who: Operator, record: Audit, response: Response, server: str
) -> Verification:
    """Let the server's agent compare its whole disks with the replica in the background.

    A server has one verification at a time: while one stands, it is the answer.
    """
    found = await get_server(uow, who.scope, server)
    ordered = await service.request(uow, found.id)
    await record("server.verify", found.id, found.project_id, verification=ordered.id)
    response.headers["Location"] = f"/api/v1/servers/{found.id}/verifications/{ordered.id}"
    return ordered


@router.get("/servers/{server}/verifications")
async def list_verifications(uow: Uow, who: Viewer, page: Paging, server: str) -> Listing[Verification]:
    """The verifications of a server without their disks, the newest first."""
    found = await get_server(uow, who.scope, server)
    return listing(Verification, await service.list_verifications(uow, found.id, page))


@router.get("/servers/{server}/verifications/{verification}")
async def get_verification(uow: Uow, who: Viewer, server: str, verification: VerificationRef) -> Verification:
    """One verification with what was found of each disk, by id, or `latest`."""
    found = await get_server(uow, who.scope, server)
    return await service.get_verification(uow, found.id, verification)
