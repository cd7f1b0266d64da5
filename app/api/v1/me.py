"""Who the caller is."""

from fastapi import APIRouter, Response, status

from app.api.audit import Audit
from app.api.auth import Viewer
from app.api.bodies import UnitRoute
from app.contract.resources.access import Me, PasswordChange
from app.contract.words import PrincipalKind
from app.kit.errors import Forbidden
from app.kit.transaction import Uow
from app.migration.access import users
from app.migration.access.principals import Principal

router = APIRouter(route_class=UnitRoute)


@router.get("/me")
async def get_me(who: Viewer) -> Me:
    """The caller's name, role and projects."""
    ids = who.scope.project_ids
    return Me(
        id=who.id,
        kind=who.kind,
        name=who.name,
        role=who.role,
        project_ids=None if ids is None else tuple(sorted(ids)),
        password_must_change=who.password_must_change,
    )


@router.put("/me/password", status_code=status.HTTP_204_NO_CONTENT)
async def change_my_password(uow: Uow, who: Viewer, record: Audit, body: PasswordChange) -> Response:
    """Set the caller's password; its other sessions are closed. Only for a user's session."""
    _must_be_user(who)
    await users.change_password(uow, who.id, who.credential_id, body.current, body.new)
    await record("user.changePassword", who.id)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


def _must_be_user(who: Principal) -> None:
    if who.kind is not PrincipalKind.USER:
        raise Forbidden("an API token has no password", code="NOT_A_USER", remedy="log in as the user")
