"""API tokens: bearer secrets for scripts and other services."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update

from app.contract.paging import Page, PageRequest
from app.contract.words import Role
from app.kit.database import UnitOfWork
from app.kit.errors import Invalid
from app.kit.ids import new_id
from app.kit.secrets import digest, new_secret
from app.migration.access.errors import TokenNotFound
from app.migration.access.principals import TOKEN_PREFIX
from app.migration.access.tables import ApiToken

TOUCH_EVERY = timedelta(minutes=1)
"""`last_used_at` is exact to this, so that reading costs no write a request."""


@dataclass(frozen=True, slots=True)
class Token:
    """An API token; `secret` only when it was created just now."""

    id: str
    name: str
    project_id: str | None
    role: Role
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    secret: str | None = None


async def create_token(
    uow: UnitOfWork, name: str, project_id: str | None, role: Role, life: timedelta | None
) -> Token:
    """Create a token for one project or (None) all of them, for `life` or until it is revoked.

    Raises Invalid TOKEN_ROLE_TOO_WIDE for an administrator's token bound to a project.
    """
    if role is Role.ADMINISTRATOR and project_id is not None:
        raise Invalid(
            "an administrator's token cannot be bound to a project",
            code="TOKEN_ROLE_TOO_WIDE",
            remedy="leave the project out, or make it an operator's token",
        )
    secret = new_secret(TOKEN_PREFIX)
    row = ApiToken(
        id=new_id("tok"),
        name=name,
        project_id=project_id,
        role=role.value,
        hash=digest(secret),
        created_at=uow.now,
        expires_at=None if life is None else uow.now + life,
    )
    uow.session.add(row)
    await uow.session.flush()
    return _token(row, secret)


async def list_tokens(uow: UnitOfWork, page: PageRequest) -> Page[Token]:
    """All tokens in the order of their making, revoked ones too."""
    query = select(ApiToken).order_by(ApiToken.id).limit(page.limit + 1)
    if page.after is not None:
        query = query.where(ApiToken.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(_token(row) for row in rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)


async def get_token(uow: UnitOfWork, token_id: str) -> Token:
    """One token; raises TokenNotFound."""
    query = select(ApiToken).where(ApiToken.id == token_id).execution_options(populate_existing=True)
    row = await uow.session.scalar(query)
    if row is None:
        raise TokenNotFound(f"there is no API token {token_id}")
    return _token(row)


async def revoke_token(uow: UnitOfWork, token_id: str) -> Token:
    """Make a token worthless for good; repeating it changes nothing. Raises TokenNotFound."""
    fresh = update(ApiToken).where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
    await uow.session.execute(fresh.values(revoked_at=uow.now))
    return await get_token(uow, token_id)


async def is_touch_due(uow: UnitOfWork, token_id: str) -> bool:
    """Whether the token's `last_used_at` is older than TOUCH_EVERY."""
    last = await uow.session.scalar(select(ApiToken.last_used_at).where(ApiToken.id == token_id))
    return last is None or uow.now - last > TOUCH_EVERY


async def touch_token(uow: UnitOfWork, token_id: str) -> None:
    """Note that the token is used now."""
    await uow.session.execute(update(ApiToken).where(ApiToken.id == token_id).values(last_used_at=uow.now))


def _token(row: ApiToken, secret: str | None = None) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        project_id=row.project_id,
        role=Role(row.role),
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        secret=secret,
    )
