"""Reading applications as the order sees them."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import ColumnElement, select

from app.kit.database import UnitOfWork
from app.migration.servers.tables import ServerRow
from app.migration.waves.ordering import Member, Part
from app.migration.waves.tables import ApplicationOrderRow, ApplicationRow, ApplicationServerRow


async def parts_of_project(uow: UnitOfWork, project_id: str, taking_part: Sequence[str] = ()) -> list[Part]:
    """All applications of a project by name; only those that take part (ids) have their servers.

    The others hand on what they come after, so that an order through an application of another wave holds.
    """
    rows = await _applications(uow, ApplicationRow.project_id == project_id)
    after = await _after(uow, [row.id for row in rows])
    members = await _members(uow, taking_part)
    return [
        Part(row.id, row.name, tuple(members.get(row.id, ())), frozenset(after.get(row.id, ())))
        for row in rows
    ]


async def _applications(uow: UnitOfWork, which: ColumnElement[bool]) -> list[ApplicationRow]:
    query = select(ApplicationRow).where(which).order_by(ApplicationRow.name, ApplicationRow.id)
    return list(await uow.session.scalars(query))


async def _after(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, list[str]]:
    query = select(ApplicationOrderRow).where(ApplicationOrderRow.application_id.in_(ids))
    found: dict[str, list[str]] = defaultdict(list)
    for row in await uow.session.scalars(query):
        found[row.application_id].append(row.after_id)
    return found


async def _members(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, list[Member]]:
    query = (
        select(ApplicationServerRow)
        .join(ServerRow, ServerRow.id == ApplicationServerRow.server_id)
        .where(ApplicationServerRow.application_id.in_(ids))
        .order_by(ServerRow.name, ServerRow.id)
    )
    found: dict[str, list[Member]] = defaultdict(list)
    for row in await uow.session.scalars(query):
        found[row.application_id].append(Member(row.server_id, row.priority_group))
    return found
