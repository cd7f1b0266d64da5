"""Checkpoints of a server: reading them, their content, and verifying what is stored of them."""

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.api.paging import Paging, listing
from app.api.streams import FRAMES, LINES, frames_response, lines_response
from app.contract.resources.base import Listing
from app.contract.resources.checkpoint import Checkpoint
from app.kit.errors import NotFound
from app.kit.transaction import Uow
from app.migration.catalogue import service
from app.migration.replication.service import export_stream, verify_stream

router = APIRouter(route_class=UnitRoute)


@router.get("/servers/{server}/checkpoints")
async def list_checkpoints(uow: Uow, who: Viewer, page: Paging, server: str) -> Listing[Checkpoint]:
    """The checkpoints of a server, the newest first."""
    found = await service.get_server(uow, who.scope, server)
    return listing(Checkpoint, await service.list_checkpoints(uow, found.id, page))


@router.get("/servers/{server}/checkpoints/{checkpoint}")
async def get_checkpoint(uow: Uow, who: Viewer, server: str, checkpoint: str) -> Checkpoint:
    """One checkpoint, by id, by number, or `latest`."""
    found = await service.get_server(uow, who.scope, server)
    return Checkpoint.model_validate(await service.get_checkpoint(uow, found.id, checkpoint))


@router.get(
    "/servers/{server}/checkpoints/{checkpoint}/disks/{disk}/content",
    response_class=StreamingResponse,
    responses={200: {"content": {FRAMES: {}}, "description": "Frames of the wire protocol: ROOT … END"}},
)
async def get_content(
    uow: Uow, who: Operator, serving: Serving, server: str, checkpoint: str, disk: str
) -> StreamingResponse:
    """The whole content of a disk at a checkpoint, as frames that the receiver verifies against the root."""
    found = await service.get_server(uow, who.scope, server)
    at = await service.get_checkpoint(uow, found.id, checkpoint)
    wanted = next((one for one in at.disks if one.disk_id == disk), None)
    if wanted is None:
        raise NotFound(
            f"checkpoint {at.number} of server {found.name!r} has no disk {disk}",
            code="DISK_NOT_FOUND",
            remedy="the checkpoint lists the ids of its disks",
        )
    return await frames_response(export_stream(serving, at, wanted))


@router.post(
    "/servers/{server}/checkpoints/{checkpoint}:verify",
    response_class=StreamingResponse,
    responses={200: {"content": {LINES: {}}, "description": "One JSON event a line; the last is the result"}},
)
async def verify_checkpoint(
    uow: Uow, who: Operator, serving: Serving, record: Audit, server: str, checkpoint: str
) -> StreamingResponse:
    """Read all that is stored of a checkpoint again and compare the root with the source's."""
    found = await service.get_server(uow, who.scope, server)
    at = await service.get_checkpoint(uow, found.id, checkpoint)
    await record("checkpoint.verify", found.id, found.project_id, checkpoint=at.id)
    return await lines_response(verify_stream(serving, at))
