"""Install tokens: what an operator carries to a source host to enrol its agent.

The text that is shown once is `g2i_…`, followed by `.` and the fingerprint of the service's certificate where
one is configured: the agent pins it. That of a way back is `g2r_…`: the agent may then find a copy of the
source's state where it has its own. Only the part before the dot is a secret, and only its hash is stored.
A use is taken by a guarded update, so that two agents never share the last one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from app.contract.paging import Page, PageRequest, Scope
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.kit.secrets import digest, new_secret
from app.migration.access.errors import CredentialExpired, CredentialInvalid, InstallTokenNotFound
from app.migration.access.tables import InstallToken as Row

INSTALL_PREFIX = "g2i"
REVERSE_PREFIX = "g2r"


@dataclass(frozen=True, slots=True)
class InstallToken:
    """An install token; `secret` is the text for the agent, only when it was created just now."""

    id: str
    project_id: str
    name: str
    uses_allowed: int
    uses_left: int
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    secret: str | None = None


@dataclass(frozen=True, slots=True)
class InstallGrant:
    """A use that was taken: the agent enrols into this project, as the way back of `reverse_of` if set."""

    project_id: str
    token_id: str
    token_name: str
    reverse_of: str | None = None


async def create_install_token(
    uow: UnitOfWork,
    project_id: str,
    name: str,
    uses: int,
    life: timedelta,
    fingerprint: str | None,
    reverse_of: str | None = None,
) -> InstallToken:
    """Create a token for `uses` agents within `life`; `fingerprint` is the certificate's, if pinned.

    With `reverse_of` it enrols the launched machine of that server.
    """
    secret = new_secret(REVERSE_PREFIX if reverse_of else INSTALL_PREFIX)
    row = Row(
        id=new_id("ins"),
        project_id=project_id,
        name=name,
        hash=digest(secret),
        uses_allowed=uses,
        uses_left=uses,
        created_at=uow.now,
        expires_at=uow.now + life,
        reverse_of=reverse_of,
    )
    uow.session.add(row)
    await uow.session.flush()
    return _token(row, f"{secret}.{fingerprint}" if fingerprint else secret)


async def redeem_install_token(uow: UnitOfWork, text: str) -> InstallGrant:
    """Take one use of a token, with or without its fingerprint.

    Raises CredentialInvalid INSTALL_TOKEN_INVALID (unknown or revoked), CredentialExpired
    INSTALL_TOKEN_EXPIRED, CredentialExpired INSTALL_TOKEN_USED_UP.
    """
    hashed = digest(text.partition(".")[0])
    usable = (Row.hash == hashed, Row.revoked_at.is_(None), Row.expires_at > uow.now, Row.uses_left > 0)
    taken = await uow.changed(update(Row).where(*usable).values(uses_left=Row.uses_left - 1))
    query = select(Row).where(Row.hash == hashed).execution_options(populate_existing=True)
    row = await uow.session.scalar(query)
    if row is None or not taken:
        raise _refusal(row, uow.now)
    return InstallGrant(row.project_id, row.id, row.name, row.reverse_of)


async def list_install_tokens(
    uow: UnitOfWork, scope: Scope, project_id: str | None, page: PageRequest
) -> Page[InstallToken]:
    """Tokens of the scope, of one project if given, in the order of their making, used up and revoked too."""
    query = select(Row).order_by(Row.id).limit(page.limit + 1)
    if scope.project_ids is not None:
        query = query.where(Row.project_id.in_(scope.project_ids))
    if project_id is not None:
        query = query.where(Row.project_id == project_id)
    if page.after is not None:
        query = query.where(Row.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(_token(row) for row in rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_install_token(uow: UnitOfWork, scope: Scope, token_id: str) -> InstallToken:
    """One token of the scope; raises InstallTokenNotFound."""
    row = await uow.session.scalar(
        select(Row).where(Row.id == token_id).execution_options(populate_existing=True)
    )
    if row is None or not scope.holds(row.project_id):
        raise InstallTokenNotFound(f"there is no install token {token_id}")
    return _token(row)


async def revoke_install_token(uow: UnitOfWork, scope: Scope, token_id: str) -> InstallToken:
    """Let nobody enrol with the token any more; agents that did stay. Raises InstallTokenNotFound."""
    await get_install_token(uow, scope, token_id)
    fresh = update(Row).where(Row.id == token_id, Row.revoked_at.is_(None))
    await uow.session.execute(fresh.values(revoked_at=uow.now))
    return await get_install_token(uow, scope, token_id)


async def revoke_reverse_tokens(uow: UnitOfWork, server_id: str) -> None:
    """Let nobody enrol as the way back of a server any more; repeating it changes nothing."""
    fresh = (Row.reverse_of == server_id, Row.revoked_at.is_(None))
    await uow.session.execute(update(Row).where(*fresh).values(revoked_at=uow.now))


def _refusal(row: Row | None, now: datetime) -> CredentialInvalid | CredentialExpired:
    remedy = "create one with: go2cloud install-token create"
    if row is None or row.revoked_at is not None:
        return CredentialInvalid(
            "the install token is unknown or revoked", code="INSTALL_TOKEN_INVALID", remedy=remedy
        )
    if row.expires_at <= now:
        return CredentialExpired(
            f"the install token {row.name!r} expired at {row.expires_at:%Y-%m-%dT%H:%M:%SZ}",
            code="INSTALL_TOKEN_EXPIRED",
            remedy=remedy,
        )
    return CredentialExpired(
        f"all {row.uses_allowed} uses of the install token {row.name!r} are taken",
        code="INSTALL_TOKEN_USED_UP",
        remedy=remedy,
    )


def _token(row: Row, secret: str | None = None) -> InstallToken:
    return InstallToken(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        uses_allowed=row.uses_allowed,
        uses_left=row.uses_left,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        secret=secret,
    )
