"""Reading servers, disks and checkpoints; what lies outside of the caller's scope is not found."""

from sqlalchemy import or_, select

from app.contract.filters import ServerFilter
from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.checkpoint import Checkpoint
from app.contract.resources.replication import Replication
from app.contract.resources.server import Disk, Server, ServerUpdate
from app.contract.words import ReplicationOperation
from app.kit.database import UnitOfWork
from app.migration.catalogue.replication import replication_view
from app.migration.catalogue.views import checkpoint_views, disk_views, server_views
from app.migration.projects.service import get_project
from app.migration.replication import orders
from app.migration.replication.errors import CheckpointNotFound
from app.migration.replication.tables import CheckpointRow
from app.migration.servers import service as servers
from app.migration.servers.enrolment import find_server

LATEST = "latest"


async def list_servers(
    uow: UnitOfWork, scope: Scope, wanted: ServerFilter, page: PageRequest
) -> Page[Server]:
    """Servers in the order of their enrolment, without their inventories. Raises ProjectNotFound."""
    project = await get_project(uow, scope, wanted.project) if wanted.project else None
    found = await servers.page_of_servers(uow, scope, page, wanted, project.id if project else None)
    return Page(await server_views(uow, found.items), found.next_after)


async def get_server(uow: UnitOfWork, scope: Scope, ref: str) -> Server:
    """One server by id or name, with its inventory. Raises ServerNotFound."""
    row = await servers.find_in_scope(uow, scope, ref)
    (view,) = await server_views(uow, [row], with_inventory=True)
    return view


async def update_server(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: ServerUpdate
) -> Server:
    """Change a server that is at `version`. Raises ServerNotFound, ServerChanged, ServerNameTaken."""
    row = await servers.update_server(uow, scope, ref, version, changes)
    return await get_server(uow, scope, row.id)


async def order(
    uow: UnitOfWork, scope: Scope, ref: str, operation: ReplicationOperation
) -> tuple[Server, bool]:
    """Carry out an order about replication; the server then, and whether it changed anything.

    Raises ServerNotFound, OperationNotAllowed.
    """
    ordered = await orders.order(uow, scope, ref, operation)
    return await get_server(uow, scope, ordered.server.id), ordered.is_new


async def get_replication(
    uow: UnitOfWork, scope: Scope, ref: str, default_interval_seconds: int
) -> Replication:
    """How replication of a server stands. Raises ServerNotFound."""
    row = await servers.find_in_scope(uow, scope, ref)
    return await replication_view(uow, row, default_interval_seconds)


async def list_disks(uow: UnitOfWork, server_id: str) -> tuple[Disk, ...]:
    """All disks that a server ever reported, oldest first."""
    return await disk_views(uow, await find_server(uow, server_id))


async def list_checkpoints(uow: UnitOfWork, server_id: str, page: PageRequest) -> Page[Checkpoint]:
    """The checkpoints of a server, the newest first."""
    query = select(CheckpointRow).where(CheckpointRow.server_id == server_id)
    if page.after_number is not None:
        query = query.where(CheckpointRow.number < page.after_number)
    rows = list(await uow.session.scalars(query.order_by(CheckpointRow.number.desc()).limit(page.limit + 1)))
    more = len(rows) > page.limit
    items = await checkpoint_views(uow, rows[: page.limit])
    return Page(items, str(items[-1].number) if more else None)


async def get_checkpoint(uow: UnitOfWork, server_id: str, ref: str) -> Checkpoint:
    """One checkpoint by id, by number, or `latest` (the head). Raises CheckpointNotFound."""
    query = select(CheckpointRow).where(CheckpointRow.server_id == server_id)
    if ref == LATEST:
        head = (await find_server(uow, server_id)).head_checkpoint_id
        query = query.where(CheckpointRow.id == (head or ""))
    else:
        number = int(ref) if ref.isdecimal() and len(ref) < 19 else -1
        query = query.where(or_(CheckpointRow.id == ref, CheckpointRow.number == number))
    row = await uow.session.scalar(query)
    if row is None:
        what = "no checkpoint yet" if ref == LATEST else f"no checkpoint {ref!r}"
        raise CheckpointNotFound(f"the server has {what}", remedy="list them with: go2cloud replica list")
    (view,) = await checkpoint_views(uow, [row])
    return view
