"""Requests that a client may repeat: a key, and what the first request with it created.

The claim is the first write of the request's transaction. A concurrent twin waits for it at the database's
own lock on the key and then finds it, so that a resource is made once. Claims are kept for a day.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.exc import IntegrityError

from app.kit.database import UnitOfWork
from app.kit.errors import Conflict, Invalid
from app.kit.secrets import digest
from app.migration.access.tables import IdempotencyKey as Row

KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Claim:
    """A repeatable request: who sent it where, under which key, and the SHA-256 of what it asked for."""

    principal_id: str
    route: str
    key: str
    digest: bytes

    @property
    def hash(self) -> bytes:
        """What the claim is stored under."""
        return digest(f"{self.route}\n{self.key}")


async def claim(uow: UnitOfWork, wanted: Claim) -> str | None:
    """None when this is the first request with the key; else the id of what the first one created.

    Raises Invalid IDEMPOTENCY_KEY_REUSED when the first one asked for something else, and Conflict
    IDEMPOTENCY_KEY_BUSY when the first one is not finished.
    """
    await uow.session.execute(delete(Row).where(Row.created_at < uow.now - KEPT_FOR))
    found = await uow.session.scalar(select(Row).where(*_same(wanted)))
    if found is None:
        await _insert(uow, wanted)
        return None
    if found.digest != wanted.digest:
        raise Invalid(
            f"the idempotency key {wanted.key!r} came with a different request before",
            code="IDEMPOTENCY_KEY_REUSED",
            remedy="use a new key for a new request",
        )
    if found.resource_id is None:
        raise _busy(wanted)
    return found.resource_id


async def settle(uow: UnitOfWork, claimed: Claim, resource_id: str) -> None:
    """Note what the first request with the key created."""
    await uow.session.execute(update(Row).where(*_same(claimed)).values(resource_id=resource_id))


async def _insert(uow: UnitOfWork, wanted: Claim) -> None:
    uow.session.add(
        Row(
            principal_id=wanted.principal_id,
            hash=wanted.hash,
            digest=wanted.digest,
            created_at=uow.now,
        )
    )
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _busy(wanted) from error


def _same(wanted: Claim) -> tuple[ColumnElement[bool], ...]:
    return (Row.principal_id == wanted.principal_id, Row.hash == wanted.hash)


def _busy(wanted: Claim) -> Conflict:
    return Conflict(
        f"another request with the idempotency key {wanted.key!r} is under way",
        code="IDEMPOTENCY_KEY_BUSY",
        remedy="send the request again in a moment",
    )
