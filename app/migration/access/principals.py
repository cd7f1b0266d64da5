"""Who is behind a request, and how much it may do.

Roles are ordered: viewer, operator, administrator; each may do what those below may. A role says what, the
scope says where. A user who is an administrator reaches every project; another user reaches none until
somebody gives it one. An API token has a role, and one project or all.
"""

from dataclasses import dataclass

from sqlalchemy import select

from app.contract.paging import EVERYTHING, Scope
from app.contract.words import PrincipalKind, Role
from app.kit.database import UnitOfWork
from app.kit.secrets import digest
from app.migration.access.errors import CredentialExpired, CredentialInvalid
from app.migration.access.tables import ApiToken, User, WebSession

SESSION_PREFIX = "g2s"
TOKEN_PREFIX = "g2t"  # noqa: S105  (how a token begins, not one)

_RANK = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMINISTRATOR: 2}


@dataclass(frozen=True, slots=True)
class Principal:
    """A user (then `credential_id` is its session) or an API token (then both ids are the token's)."""

    id: str
    kind: PrincipalKind
    name: str
    role: Role
    scope: Scope
    credential_id: str
    password_must_change: bool = False

    def may(self, role: Role) -> bool:
        """Whether this principal holds the role or a higher one."""
        return _RANK[self.role] >= _RANK[role]


async def authenticate(uow: UnitOfWork, secret: str) -> Principal:
    """The principal that a bearer secret belongs to.

    Raises CredentialInvalid for one that is unknown or revoked, CredentialExpired for one past its time.
    """
    if secret.startswith(f"{SESSION_PREFIX}_"):
        return await _of_session(uow, secret)
    if secret.startswith(f"{TOKEN_PREFIX}_"):
        return await _of_token(uow, secret)
    raise CredentialInvalid(
        "the bearer token is none that go2cloud issues to users or scripts",
        remedy="log in, or create an API token with: go2cloud token create",
    )


async def _of_session(uow: UnitOfWork, secret: str) -> Principal:
    query = select(WebSession, User).join(User, User.id == WebSession.user_id)
    row = (await uow.session.execute(query.where(WebSession.hash == digest(secret)))).first()
    if row is None:
        raise CredentialInvalid("the session is closed or never was", code="SESSION_INVALID", remedy="log in")
    session, user = row
    if session.expires_at <= uow.now:
        raise CredentialExpired("the session has expired", code="SESSION_EXPIRED", remedy="log in again")
    return Principal(
        id=user.id,
        kind=PrincipalKind.USER,
        name=user.name,
        role=Role.ADMINISTRATOR if user.administrator else Role.VIEWER,
        scope=EVERYTHING if user.administrator else Scope(frozenset()),
        credential_id=session.id,
        password_must_change=user.password_must_change,
    )


async def _of_token(uow: UnitOfWork, secret: str) -> Principal:
    token = await uow.session.scalar(select(ApiToken).where(ApiToken.hash == digest(secret)))
    if token is None or token.revoked_at is not None:
        raise CredentialInvalid(
            "the API token is unknown or revoked", remedy="create one with: go2cloud token create"
        )
    if token.expires_at is not None and token.expires_at <= uow.now:
        raise CredentialExpired(
            f"the API token {token.name!r} expired at {token.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            remedy="create a new one with: go2cloud token create",
        )
    return Principal(
        id=token.id,
        kind=PrincipalKind.TOKEN,
        name=token.name,
        role=Role(token.role),
        scope=EVERYTHING if token.project_id is None else Scope(frozenset({token.project_id})),
        credential_id=token.id,
    )
