"""The audit trail at the edge: every route that changes something takes `Audit` and says what it did."""

from typing import Annotated

from fastapi import Depends, Request

from app.api.auth import signed_in
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.requestid import request_id
from app.kit.transaction import Uow
from app.migration.access import audit
from app.migration.access.principals import Principal


class Auditor:
    """Writes down what the principal of this request changed."""

    def __init__(self, uow: UnitOfWork, principal: Principal, request_id: str | None) -> None:
        """Entries stay or go with `uow`."""
        self._uow = uow
        self._request_id = request_id
        self._actor = audit.Actor(principal.id, principal.name)

    async def __call__(
        self, action: str, resource: str, project_id: str | None = None, **details: Json
    ) -> None:
        """`action` is noun.verb, `resource` an id; details are small and hold no secret."""
        change = audit.Change(action, resource, project_id, details)
        await audit.record(self._uow, self._actor, change, self._request_id)


def auditor(request: Request, uow: Uow, principal: Annotated[Principal, Depends(signed_in)]) -> Auditor:
    """The auditor of this request; tests find it on every route that changes something."""
    return Auditor(uow, principal, request_id(request))


Audit = Annotated[Auditor, Depends(auditor)]
