"""The audit trail: who changed what, and when, written in the transaction that made the change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select

from app.contract.paging import Page, PageRequest
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.ids import new_id
from app.migration.access.tables import AuditRow


@dataclass(frozen=True, slots=True)
class Actor:
    """Who is written down as the doer."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to which resource; `details` are small and hold no secret."""

    action: str
    resource: str
    project_id: str | None = None
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change with its doer and time."""

    id: str
    at: datetime
    principal_id: str
    principal_name: str
    action: str
    resource: str
    project_id: str | None
    details: Mapping[str, Json]
    request_id: str | None


async def record(uow: UnitOfWork, actor: Actor, change: Change, request_id: str | None) -> None:
    """Write a change down; it stays or goes with the unit of work."""
    uow.session.add(
        AuditRow(
            id=new_id("aud"),
            at=uow.now,
            principal_id=actor.id,
            principal_name=actor.name,
            action=change.action,
            resource=change.resource,
            project_id=change.project_id,
            details=dict(change.details),
            request_id=request_id,
        )
    )
    await uow.session.flush()


async def list_audit(uow: UnitOfWork, resource: str | None, page: PageRequest) -> Page[AuditEntry]:
    """The newest changes first, of one resource if given."""
    query = select(AuditRow).order_by(AuditRow.id.desc()).limit(page.limit + 1)
    if resource is not None:
        query = query.where(AuditRow.resource == resource)
    if page.after is not None:
        query = query.where(AuditRow.id < page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(_entry(row) for row in rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        id=row.id,
        at=row.at,
        principal_id=row.principal_id,
        principal_name=row.principal_name,
        action=row.action,
        resource=row.resource,
        project_id=row.project_id,
        details=row.details,
        request_id=row.request_id,
    )
