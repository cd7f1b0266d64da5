"""Source servers and their disks."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.paging import Paging, listing, whole
from app.contract.filters import ServerFilter
from app.contract.resources.base import Listing
from app.contract.resources.server import Disk, Server, ServerUpdate
from app.contract.words import LifecycleState, ReplicationState
from app.kit.transaction import Uow
from app.migration.catalogue import service

router = APIRouter(route_class=UnitRoute)


def _filters(
    project: Annotated[str | None, Query(description="Id or name")] = None,
    lifecycle_state: Annotated[LifecycleState | None, Query(alias="lifecycleState")] = None,
    replication_state: Annotated[ReplicationState | None, Query(alias="replicationState")] = None,
    q: Annotated[str | None, Query(description="Part of the name or host name")] = None,
    archived: Annotated[bool, Query(description="Those that were archived, instead of the others")] = False,
    reverse: Annotated[
        bool, Query(description="Launched machines that replicate back, instead of the servers")
    ] = False,
) -> ServerFilter:
    return ServerFilter(project, lifecycle_state, replication_state, q, archived, reverse)


Filters = Annotated[ServerFilter, Depends(_filters)]


@router.get("/servers")
async def list_servers(uow: Uow, who: Viewer, page: Paging, filters: Filters) -> Listing[Server]:
    """The servers of the caller's projects, without their inventories."""
    return listing(Server, await service.list_servers(uow, who.scope, filters, page))


@router.get("/servers/{server}")
async def get_server(uow: Uow, who: Viewer, response: Response, server: str) -> Server:
    """One server, by id or name."""
    found = await service.get_server(uow, who.scope, server)
    tag(response, found)
    return Server.model_validate(found)


@router.patch("/servers/{server}")
async def update_server(
    uow: Uow,
    who: Operator,
    record: Audit,
    response: Response,
    server: str,
    version: IfMatch,
    body: ServerUpdate,
) -> Server:
    """Change name, description, checkpoint interval or wire rate of a server."""
    changed = await service.update_server(uow, who.scope, server, version, body)
    details = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("server.update", changed.id, changed.project_id, **details)
    tag(response, changed)
    return Server.model_validate(changed)


@router.get("/servers/{server}/disks")
async def list_disks(uow: Uow, who: Viewer, server: str) -> Listing[Disk]:
    """All disks of a server, on one page."""
    found = await service.get_server(uow, who.scope, server)
    return whole(Disk, await service.list_disks(uow, found.id))
