"""Web sessions: an opaque secret for as long as a login holds."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete

from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.kit.secrets import digest, new_secret
from app.migration.access.principals import SESSION_PREFIX
from app.migration.access.tables import WebSession
from app.migration.access.users import Account


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session just opened; the only time that its secret is known."""

    id: str
    user: str
    expires_at: datetime
    token: str


async def open_session(uow: UnitOfWork, account: Account, life: timedelta) -> NewSession:
    """Open a session of a user whose password was checked; expired sessions of everybody go."""
    await uow.session.execute(delete(WebSession).where(WebSession.expires_at <= uow.now))
    opened = NewSession(new_id("ses"), account.name, uow.now + life, new_secret(SESSION_PREFIX))
    uow.session.add(
        WebSession(
            id=opened.id,
            user_id=account.id,
            hash=digest(opened.token),
            created_at=uow.now,
            expires_at=opened.expires_at,
        )
    )
    await uow.session.flush()
    return opened


async def close_session(uow: UnitOfWork, session_id: str) -> None:
    """Close a session; closing one that is gone is fine."""
    await uow.session.execute(delete(WebSession).where(WebSession.id == session_id))
