"""What operators and scripts do with servers; a server outside of the caller's scope is not found."""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, not_, or_, select, update
from sqlalchemy.exc import IntegrityError

from app.contract.filters import ServerFilter
from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.server import ServerUpdate
from app.contract.words import ReplicationState
from app.kit.database import UnitOfWork
from app.migration.servers.errors import ServerChanged, ServerNameTaken, ServerNotFound
from app.migration.servers.tables import ServerRow


async def page_of_servers(
    uow: UnitOfWork, scope: Scope, page: PageRequest, wanted: ServerFilter, project_id: str | None
) -> Page[ServerRow]:
    """Servers in the order of their enrolment, those of one project if `project_id` is given."""
    query = select(ServerRow).order_by(ServerRow.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(ServerRow.project_id.in_(scope.project_ids))
    for column, value in (
        (ServerRow.project_id, project_id),
        (ServerRow.lifecycle_state, wanted.lifecycle_state),
        (ServerRow.archived, wanted.archived),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.replication_state is not None:
        query = query.where(_stands(wanted.replication_state, uow.now))
    if wanted.reverse is not None:
        query = query.where(ServerRow.reverse_of.is_not(None) == wanted.reverse)
    if wanted.q:
        matches = (
            column.icontains(wanted.q, autoescape=True) for column in (ServerRow.name, ServerRow.hostname)
        )
        query = query.where(or_(*matches))
    if page.after is not None:
        query = query.where(ServerRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


def _stands(state: ReplicationState, now: datetime) -> ColumnElement[bool]:
    """Servers in a replication state; whose agent fell silent is disconnected, whatever its row says."""
    stopped = ServerRow.replication_state == ReplicationState.STOPPED
    silent = or_(ServerRow.lease_until < now, and_(ServerRow.lease_until.is_(None), not_(stopped)))
    if state is ReplicationState.DISCONNECTED:
        return silent
    is_silent = func.coalesce(silent, False)
    return and_(ServerRow.replication_state == state, not_(is_silent))


async def find_in_scope(uow: UnitOfWork, scope: Scope, ref: str) -> ServerRow:
    """One server by id or name. Raises ServerNotFound, also where a name fits servers of two projects."""
    query = select(ServerRow).where(or_(ServerRow.id == ref, ServerRow.name == ref))
    if scope.project_ids is not None:
        query = query.where(ServerRow.project_id.in_(scope.project_ids))
    rows = (await uow.session.scalars(query.limit(2).execution_options(populate_existing=True))).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise ServerNotFound(f"several projects have a server {ref!r}", remedy="give the server's id")
    raise ServerNotFound(f"there is no server {ref!r}", remedy="list them with: go2cloud server list")


async def server_names(uow: UnitOfWork, ids: frozenset[str]) -> dict[str, str]:
    """The names of servers by their ids; unknown ids are left out."""
    rows = await uow.session.execute(select(ServerRow.id, ServerRow.name).where(ServerRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


async def update_server(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: ServerUpdate
) -> ServerRow:
    """Change a server that is at `version`. Raises ServerNotFound, ServerChanged, ServerNameTaken."""
    server = await find_in_scope(uow, scope, ref)
    values = _values(changes) | {"version": version + 1}
    same = update(ServerRow).where(ServerRow.id == server.id, ServerRow.version == version)
    try:
        changed = await uow.changed(same.values(**values))
    except IntegrityError as error:
        raise ServerNameTaken(
            f"the project has a server {changes.name!r} already", remedy="choose another name"
        ) from error
    if not changed:
        raise ServerChanged(
            f"server {server.name!r} is at version {server.version}, not {version}",
            remedy="read it again and repeat the change",
        )
    return await find_in_scope(uow, scope, server.id)


def _values(changes: ServerUpdate) -> dict[str, object]:
    """The columns to be set. Interval and rate may be set to null, the texts may not."""
    values: dict[str, object] = changes.model_dump(include={"name", "description"}, exclude_none=True)
    if "checkpoint_interval" in changes.model_fields_set:
        interval = changes.checkpoint_interval
        values["checkpoint_interval_seconds"] = None if interval is None else int(interval.total_seconds())
    if "wire_rate" in changes.model_fields_set:
        values["wire_rate"] = changes.wire_rate
    return values
