"""Permission as a type: a route that takes a `Viewer`, an `Operator` or an `Administrator` is open to that
role and those above it, and to nobody else.

The credential is a bearer secret: a session's or an API token's. What lies outside of the principal's
projects is not refused here; services that are given its scope do not find it.
"""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.context import Serving
from app.contract.words import PrincipalKind, Role
from app.kit.database import UnitOfWork
from app.kit.errors import Forbidden, Unauthenticated
from app.kit.transaction import Uow
from app.migration.access import tokens
from app.migration.access.principals import Principal, authenticate

_BEARER = HTTPBearer(auto_error=False, description="A session's or an API token's secret")

READING = frozenset({"GET", "HEAD"})


async def signed_in(
    request: Request,
    serving: Serving,
    uow: Uow,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
) -> Principal:
    """The principal of the request; raises Unauthenticated (401) without a credential that counts."""
    if credentials is None:
        raise Unauthenticated(
            "this needs a bearer token in the Authorization header",
            remedy="log in, or create an API token with: go2cloud token create",
        )
    principal = await authenticate(uow, credentials.credentials)
    if principal.kind is PrincipalKind.TOKEN and await tokens.is_touch_due(uow, principal.id):
        await _touch(request, serving, uow, principal.id)
    return principal


async def _touch(request: Request, serving: Serving, uow: UnitOfWork, token_id: str) -> None:
    """Note the use of a token: in this unit of work if it writes, else in one of its own."""
    if request.method in READING:
        await serving.database.run(lambda own: tokens.touch_token(own, token_id))
    else:
        await tokens.touch_token(uow, token_id)


class Requires:
    """A dependency that lets a role pass; tests find it on every route."""

    def __init__(self, role: Role) -> None:
        """`role` is the least that is needed."""
        self.role = role

    async def __call__(self, principal: Annotated[Principal, Depends(signed_in)]) -> Principal:
        """The principal; raises Forbidden (403) when its role is too small."""
        if not principal.may(self.role):
            raise Forbidden(
                f"this needs the role {self.role}; {principal.name!r} is {principal.role}",
                code="ROLE_TOO_SMALL",
                remedy="ask an administrator for a token with a higher role",
                needed=self.role.value,
            )
        return principal


Viewer = Annotated[Principal, Depends(Requires(Role.VIEWER))]
Operator = Annotated[Principal, Depends(Requires(Role.OPERATOR))]
Administrator = Annotated[Principal, Depends(Requires(Role.ADMINISTRATOR))]
SignedIn = Annotated[Principal, Depends(signed_in)]
