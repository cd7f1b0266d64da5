"""The audit trail."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.auth import Administrator
from app.api.bodies import UnitRoute
from app.api.paging import Paging, listing
from app.contract.resources.access import AuditEntry
from app.contract.resources.base import Listing
from app.kit.transaction import Uow
from app.migration.access import audit as service

router = APIRouter(route_class=UnitRoute)


@router.get("/audit")
async def list_audit(
    uow: Uow,
    _who: Administrator,
    page: Paging,
    resource: Annotated[str | None, Query(description="The id of what was changed")] = None,
) -> Listing[AuditEntry]:
    """Who changed what, the newest first."""
    return listing(AuditEntry, await service.list_audit(uow, resource, page))
