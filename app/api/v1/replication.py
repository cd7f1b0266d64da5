"""Replication of servers: how it stands, and orders about it.

An order answers 202 when the agent has yet to carry it out, and 200 when it was given already.
"""

from fastapi import APIRouter, Response, status

from app.api.audit import Audit, Auditor
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.context import Serving
from app.contract.resources.replication import Replication
from app.contract.resources.server import Server
from app.contract.words import ReplicationOperation
from app.kit.database import UnitOfWork
from app.kit.transaction import Uow
from app.migration.access.principals import Principal
from app.migration.catalogue import service

router = APIRouter(route_class=UnitRoute)


@router.get("/servers/{server}/replication")
async def get_replication(uow: Uow, who: Viewer, serving: Serving, server: str) -> Replication:
    """How replication of a server stands: state and reason, rates, backlog, disks, forecast."""
    interval = serving.settings.agent.sync_interval_seconds
    return await service.get_replication(uow, who.scope, server, interval)


@router.post("/servers/{server}:pause", status_code=status.HTTP_202_ACCEPTED)
async def pause_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Send nothing until resumed; the agent goes on noting what is written."""
    return await _order(uow, who, record, response, server, ReplicationOperation.PAUSE)


@router.post("/servers/{server}:resume", status_code=status.HTTP_202_ACCEPTED)
async def resume_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Replicate again, at once."""
    return await _order(uow, who, record, response, server, ReplicationOperation.RESUME)


@router.post("/servers/{server}:stop", status_code=status.HTTP_202_ACCEPTED)
async def stop_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Neither send nor note what is written: resuming begins with a rescan."""
    return await _order(uow, who, record, response, server, ReplicationOperation.STOP)


@router.post("/servers/{server}:sync", status_code=status.HTTP_202_ACCEPTED)
async def sync_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Let the server's running agent bring the replica up to date now, not at its next interval."""
    return await _order(uow, who, record, response, server, ReplicationOperation.SYNC)


@router.post("/servers/{server}:rescan", status_code=status.HTTP_202_ACCEPTED)
async def rescan_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Read all that is not free once more and send what differs; the order stands until it is committed."""
    return await _order(uow, who, record, response, server, ReplicationOperation.RESCAN)


@router.post("/servers/{server}:retry", status_code=status.HTTP_202_ACCEPTED)
async def retry_server(uow: Uow, who: Operator, record: Audit, response: Response, server: str) -> Server:
    """Let a stalled agent try again now, not when its pause is over."""
    return await _order(uow, who, record, response, server, ReplicationOperation.RETRY)


async def _order(
    uow: UnitOfWork,
    who: Principal,
    record: Auditor,
    response: Response,
    server: str,
    operation: ReplicationOperation,
) -> Server:
    found, is_new = await service.order(uow, who.scope, server, operation)
    await record(f"server.{operation}", found.id, found.project_id)
    if not is_new:
        response.status_code = status.HTTP_200_OK
    return found
