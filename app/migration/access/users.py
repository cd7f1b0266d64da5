"""Users and their passwords.

Hashing takes tens of milliseconds of CPU and runs in a thread. A user name is lower-case, so that it is one
name under every collation. One-time passwords are made here, shown once by the caller, and hold until they
are changed; the user is marked so that the dashboard asks for a change.
"""

import asyncio
import secrets
from dataclasses import dataclass

from sqlalchemy import delete, exists, select, update

from app.kit.database import UnitOfWork
from app.kit.errors import Invalid
from app.kit.ids import new_id
from app.kit.secrets import hash_password, verify_password
from app.migration.access.errors import LoginFailed, UserExists, UserNotFound
from app.migration.access.tables import User, WebSession

FIRST_ADMINISTRATOR = "admin"


@dataclass(frozen=True, slots=True)
class OneTimePassword:
    """A password that somebody has to be told; it is stored nowhere."""

    user: str
    password: str

    def __repr__(self) -> str:
        """The user only: a repr ends in logs."""
        return f"OneTimePassword(user={self.user!r})"


@dataclass(frozen=True, slots=True)
class Account:
    """A user, without its secrets."""

    id: str
    name: str


async def ensure_administrator(uow: UnitOfWork) -> OneTimePassword | None:
    """Create the first administrator, named `admin`; None when there is an administrator already."""
    if await uow.session.scalar(select(exists().where(User.administrator))):
        return None
    return await create_administrator(uow, FIRST_ADMINISTRATOR)


async def create_administrator(uow: UnitOfWork, name: str) -> OneTimePassword:
    """Create an administrator; raises UserExists, and Invalid USER_NAME_INVALID for an odd name."""
    name = _checked(name)
    if await _find(uow, name) is not None:
        raise UserExists(f"there is a user {name!r} already", remedy=f"go2cloud admin reset-password {name}")
    fresh = _one_time(name)
    hashed = await asyncio.to_thread(hash_password, fresh.password)
    uow.session.add(
        User(
            id=new_id("usr"),
            name=name,
            password_hash=hashed,
            administrator=True,
            password_must_change=True,
            created_at=uow.now,
        )
    )
    await uow.session.flush()
    return fresh


async def reset_password(uow: UnitOfWork, name: str) -> OneTimePassword:
    """Give a user a new one-time password and close its sessions; raises UserNotFound."""
    user = await _find(uow, name.strip().lower())
    if user is None:
        raise UserNotFound(f"there is no user {name!r}", remedy=f"go2cloud admin create {name}")
    fresh = _one_time(user.name)
    await _store_password(uow, user.id, fresh.password, must_change=True, keep_session=None)
    return fresh


async def check_password(uow: UnitOfWork, name: str, password: str) -> Account:
    """The user with this name and password; raises LoginFailed.

    An unknown name costs as much time as a wrong password, so that names cannot be found out by the clock.
    """
    user = await _find(uow, name.strip().lower())
    if user is None:
        await asyncio.to_thread(hash_password, password)
        raise LoginFailed
    if not await asyncio.to_thread(verify_password, user.password_hash, password):
        raise LoginFailed
    return Account(user.id, user.name)


async def change_password(uow: UnitOfWork, user_id: str, session_id: str, current: str, new: str) -> None:
    """Set the user's password and close its other sessions; raises LoginFailed when `current` is wrong."""
    user = await uow.session.get(User, user_id)
    if user is None or not await asyncio.to_thread(verify_password, user.password_hash, current):
        raise LoginFailed
    await _store_password(uow, user_id, new, must_change=False, keep_session=session_id)


async def _store_password(
    uow: UnitOfWork, user_id: str, password: str, *, must_change: bool, keep_session: str | None
) -> None:
    hashed = await asyncio.to_thread(hash_password, password)
    changed = update(User).where(User.id == user_id)
    await uow.session.execute(changed.values(password_hash=hashed, password_must_change=must_change))
    others = delete(WebSession).where(WebSession.user_id == user_id)
    await uow.session.execute(others if keep_session is None else others.where(WebSession.id != keep_session))


async def _find(uow: UnitOfWork, name: str) -> User | None:
    return await uow.session.scalar(select(User).where(User.name == name))


def _checked(name: str) -> str:
    name = name.strip().lower()
    if not name or len(name) > 100 or not all(c.isalnum() or c in "._-@" for c in name):
        raise Invalid(
            f"{name!r} is not a user name",
            code="USER_NAME_INVALID",
            remedy="use letters, digits and . _ - @, at most 100 characters",
        )
    return name


def _one_time(name: str) -> OneTimePassword:
    return OneTimePassword(name, secrets.token_urlsafe(15))
