"""Targets, what follows a server, and publishing."""

from fastapi import APIRouter, Response, status

from app.api.audit import Audit
from app.api.auth import Administrator, Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.repeats import Once
from app.contract.resources.base import Listing
from app.contract.resources.job import Job
from app.contract.resources.target import (
    Follow,
    FollowOrder,
    PublishOrder,
    Target,
    TargetCreate,
    TargetUpdate,
    TargetValidation,
)
from app.kit.transaction import Uow
from app.migration.catalogue.jobs import get_job
from app.migration.follow import service as follows
from app.migration.follow import uses
from app.migration.publish.orders import order_publishing
from app.migration.servers.service import find_in_scope
from app.migration.targets import service

router = APIRouter(route_class=UnitRoute)


@router.get("/targets")
async def list_targets(uow: Uow, who: Viewer, page: Paging) -> Listing[Target]:
    """The built-in target and those of the caller's projects."""
    return listing(Target, await service.list_targets(uow, who.scope, page))


@router.post("/targets", status_code=status.HTTP_201_CREATED)
async def create_target(
    uow: Uow, who: Administrator, once: Once, record: Audit, response: Response, body: TargetCreate
) -> Target:
    """Create a target; administrators do, since it names places on nodes."""

    async def create() -> Target:
        made = await service.create_target(uow, who.scope, body)
        await record("target.create", made.id, made.project_id, name=made.name, kind=made.kind)
        return made

    target = await once(body, create, lambda known: service.get_target(uow, who.scope, known))
    tag(response, target)
    return target


@router.get("/targets/{target}")
async def get_target(uow: Uow, who: Viewer, response: Response, target: str) -> Target:
    """One target, by id or name."""
    found = await service.get_target(uow, who.scope, target)
    tag(response, found)
    return found


@router.patch("/targets/{target}")
async def update_target(
    uow: Uow,
    who: Administrator,
    record: Audit,
    response: Response,
    target: str,
    version: IfMatch,
    body: TargetUpdate,
) -> Target:
    """Change a target's name, or settings where nothing lives there; what follows it goes on with them."""
    changed = await uses.update_target(uow, who.scope, target, version, body)
    said = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("target.update", changed.id, changed.project_id, **said)
    tag(response, changed)
    return changed


@router.delete("/targets/{target}")
async def delete_target(uow: Uow, who: Administrator, record: Audit, target: str, version: IfMatch) -> Target:
    """Delete a target that nothing uses; what it wrote stays where it is. Answers what it was."""
    was = await uses.delete_target(uow, who.scope, target, version)
    await record("target.delete", was.id, was.project_id, name=was.name)
    return was


@router.post("/targets/{target}:validate", status_code=status.HTTP_202_ACCEPTED)
async def validate_target(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    response: Response,
    target: str,
    body: TargetValidation | None = None,
) -> Job:
    """Let a node look whether the target works there; the job's result are the findings."""
    wanted = body or TargetValidation()
    ordered = await service.order_validation(serving, uow, who.scope, target, wanted, who.name)
    job = await get_job(uow, who.scope, ordered)
    await record("target.validate", target, job.project_id, job=job.id)
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job


@router.get("/servers/{server}/follow")
async def get_follow(uow: Uow, who: Viewer, server: str) -> Follow:
    """The target that is kept up to date with a server, and how far it is."""
    return await follows.get_follow(uow, who.scope, server)


@router.put("/servers/{server}/follow")
async def follow_server(uow: Uow, who: Operator, record: Audit, server: str, body: FollowOrder) -> Follow:
    """Keep a target of kind device up to date with each checkpoint of a server."""
    found = await follows.follow(uow, who.scope, server, body.target)
    project = (await find_in_scope(uow, who.scope, server)).project_id
    await record("server.follow", found.server_id, project, target=found.target_id)
    return found


@router.delete("/servers/{server}/follow", status_code=status.HTTP_204_NO_CONTENT)
async def unfollow_server(uow: Uow, who: Operator, record: Audit, server: str) -> None:
    """Let nothing follow a server any more; what the target holds stays."""
    project = (await find_in_scope(uow, who.scope, server)).project_id
    found = await follows.unfollow(uow, who.scope, server)
    await record("server.unfollow", found, project)


@router.post("/servers/{server}:publish", status_code=status.HTTP_202_ACCEPTED)
async def publish_server(
    uow: Uow,
    serving: Serving,
    who: Operator,
    record: Audit,
    once: Once,
    response: Response,
    server: str,
    body: PublishOrder,
) -> Job:
    """Publish a checkpoint as images; the job's result names the folder and the files."""

    async def create() -> Job:
        ordered = await order_publishing(serving, uow, who.scope, server, body, who.name)
        made = await get_job(uow, who.scope, ordered)
        await record("server.publish", made.server_id or server, made.project_id, job=ordered)
        return made

    job = await once(body, create, lambda known: get_job(uow, who.scope, known))
    response.headers["Location"] = f"/api/v1/jobs/{job.id}"
    return job
