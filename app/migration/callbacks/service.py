"""Subscriptions by project; one outside of the caller's scope is not found.

The built-in one is told of every project's events: it is there for whoever sees every project.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, delete, or_, select, true, update
from sqlalchemy.exc import IntegrityError

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.subscription import (
    Ping,
    Subscription,
    SubscriptionCreate,
    SubscriptionUpdate,
)
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.kit.secrets import new_secret
from app.kit.settings import Settings
from app.migration.callbacks.claims import receiver_of
from app.migration.callbacks.errors import (
    SubscriptionBuiltIn,
    SubscriptionChanged,
    SubscriptionExists,
    SubscriptionNotFound,
)
from app.migration.callbacks.measuring import waiting
from app.migration.callbacks.platform import PLATFORM_NAME
from app.migration.callbacks.sending import Letter, Receiver, Sender
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow
from app.migration.projects.service import get_project
from app.migration.services import Services

PING: Final = "callback.ping"
SECRET_PREFIX: Final = "g2w"  # noqa: S105  (how a secret begins, not one)


async def list_subscriptions(uow: UnitOfWork, scope: Scope, page: PageRequest) -> Page[Subscription]:
    """The subscriptions of the scope in the order of their making, the built-in one last."""
    query = select(SubscriptionRow).where(_within(scope)).order_by(SubscriptionRow.id).limit(page.limit + 1)
    if page.after is not None:
        query = query.where(SubscriptionRow.id > page.after)
    rows = (await uow.session.scalars(query)).all()
    items = tuple(rows[: page.limit])
    counts = await waiting(uow, [row.id for row in items])
    views = tuple(_view(row, counts.get(row.id, 0)) for row in items)
    return Page(views, items[-1].id if len(rows) > page.limit else None)


async def get_subscription(uow: UnitOfWork, scope: Scope, ref: str) -> Subscription:
    """One subscription by id or name. Raises SubscriptionNotFound."""
    row = await _find(uow, scope, ref)
    return _view(row, (await waiting(uow, [row.id])).get(row.id, 0))


async def create_subscription(uow: UnitOfWork, scope: Scope, wanted: SubscriptionCreate) -> Subscription:
    """Create a subscription; its secret is in the answer where it was made up here.

    Raises ProjectNotFound, SubscriptionExists.
    """
    project = await get_project(uow, scope, wanted.project)
    if wanted.name == PLATFORM_NAME:
        raise _taken(wanted.name)
    made_up = None if wanted.secret else new_secret(SECRET_PREFIX)
    row = SubscriptionRow(
        id=new_id("sub"),
        project_id=project.id,
        name=wanted.name,
        url=wanted.url,
        kinds=None if wanted.kinds is None else list(wanted.kinds),
        secret=wanted.secret or made_up,
        enabled=wanted.enabled,
        created_at=uow.now,
        updated_at=uow.now,
        version=1,
    )
    uow.session.add(row)
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _taken(wanted.name) from error
    return _view(row, 0).model_copy(update={"secret": made_up})


async def update_subscription(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: SubscriptionUpdate
) -> Subscription:
    """Change a subscription that is at `version`; what waits for it is delivered at once then.

    What waits for one that is disabled is deleted.

    Raises SubscriptionNotFound, SubscriptionBuiltIn, SubscriptionChanged, SubscriptionExists.
    """
    row = _own(await _find(uow, scope, ref))
    if changes.name == PLATFORM_NAME:
        raise _taken(PLATFORM_NAME)
    same = update(SubscriptionRow).where(SubscriptionRow.id == row.id, SubscriptionRow.version == version)
    values = {"version": version + 1, "updated_at": uow.now, "not_before": None} | _values(changes)
    try:
        changed = await uow.changed(same.values(**values))
    except IntegrityError as error:
        raise _taken(changes.name or row.name) from error
    if not changed:
        raise _changed(row, version)
    await _settle_waiting(uow, row.id, is_told=changes.enabled is not False)
    return await get_subscription(uow, scope, row.id)


async def _settle_waiting(uow: UnitOfWork, subscription: str, *, is_told: bool) -> None:
    """Events that stepped aside come back; all go where nobody is to be told."""
    same = OutboxRow.subscription_id == subscription
    if is_told:
        aside = update(OutboxRow).where(same, OutboxRow.not_before.is_not(None))
        await uow.session.execute(aside.values(not_before=None))
    else:
        await uow.session.execute(delete(OutboxRow).where(same))


async def delete_subscription(uow: UnitOfWork, scope: Scope, ref: str, version: int) -> Subscription:
    """Delete a subscription that is at `version`, and what waits for it; what it was.

    Raises SubscriptionNotFound, SubscriptionBuiltIn, SubscriptionChanged.
    """
    row = _own(await _find(uow, scope, ref))
    was = await get_subscription(uow, scope, row.id)
    same = delete(SubscriptionRow).where(SubscriptionRow.id == row.id, SubscriptionRow.version == version)
    if not await uow.changed(same):
        raise _changed(row, version)
    await uow.session.execute(delete(OutboxRow).where(OutboxRow.subscription_id == row.id))
    return was


@dataclass(frozen=True, slots=True)
class Addressee:
    """A subscription to be pinged, and where it is."""

    id: str
    project_id: str | None
    receiver: Receiver


async def addressee(uow: UnitOfWork, scope: Scope, ref: str, settings: Settings) -> Addressee:
    """Where a ping goes. Raises SubscriptionNotFound."""
    row = await _find(uow, scope, ref)
    return Addressee(row.id, row.project_id, receiver_of(row, settings))


async def ping(services: Services, to: Addressee) -> Ping:
    """Send a ping, once, past the outbox; how it ended. It holds no transaction."""
    event = Event(PING, services.clock.now(), project=to.project_id, subject=to.id)
    async with Sender(services.settings.callbacks, services.clock) as sender:
        answer = await sender.send(to.receiver, Letter(event.id, event.type, event.encode()))
    return Ping.model_validate(answer)


def _within(scope: Scope) -> ColumnElement[bool]:
    if scope.project_ids is None:
        return true()
    return SubscriptionRow.project_id.in_(scope.project_ids)


async def _find(uow: UnitOfWork, scope: Scope, ref: str) -> SubscriptionRow:
    named = or_(SubscriptionRow.id == ref, SubscriptionRow.name == ref)
    query = select(SubscriptionRow).where(named, _within(scope)).limit(2)
    rows = (await uow.session.scalars(query.execution_options(populate_existing=True))).all()
    if len(rows) == 1:
        return rows[0]
    if rows:
        raise SubscriptionNotFound(f"several projects have a subscription {ref!r}", remedy="give its id")
    raise SubscriptionNotFound(
        f"there is no subscription {ref!r}", remedy="list them with: go2cloud subscription list"
    )


def _values(changes: SubscriptionUpdate) -> dict[str, object]:
    """The columns to be set; kinds may be set to null, the others may not."""
    values: dict[str, object] = changes.model_dump(
        include={"name", "url", "secret", "enabled"}, exclude_none=True
    )
    if "kinds" in changes.model_fields_set:
        values["kinds"] = None if changes.kinds is None else list(changes.kinds)
    return values


def _own(row: SubscriptionRow) -> SubscriptionRow:
    if row.project_id is None:
        raise SubscriptionBuiltIn(
            f"the subscription {row.name} is built in", remedy="set PLATFORM_CALLBACK_URL of role api"
        )
    return row


def _taken(name: str) -> SubscriptionExists:
    return SubscriptionExists(f"there is a subscription {name!r} already", remedy="choose another name")


def _changed(row: SubscriptionRow, version: int) -> SubscriptionChanged:
    return SubscriptionChanged(
        f"subscription {row.name!r} is at version {row.version}, not {version}",
        remedy="read it again and repeat the change",
    )


def _view(row: SubscriptionRow, count: int) -> Subscription:
    return Subscription(
        id=row.id,
        project_id=row.project_id,
        name=row.name,
        url=row.url,
        kinds=None if row.kinds is None else tuple(row.kinds),
        enabled=row.enabled,
        built_in=row.project_id is None,
        waiting=count,
        failures=row.failures,
        dropped=row.dropped,
        last_success_at=row.last_success_at,
        last_failure_at=row.last_failure_at,
        last_failure=row.last_failure,
        retry_at=row.not_before,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
    )
