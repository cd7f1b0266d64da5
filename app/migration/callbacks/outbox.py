"""Writing events down for whoever subscribed to them, in the transaction that makes them."""

from typing import Final

from sqlalchemy import insert, select

from app.contract.callbackwords import EventKind
from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow

KINDS: Final = frozenset(kind.value for kind in EventKind)


async def record(uow: UnitOfWork) -> None:
    """Put the unit's news into the outbox, once for each subscription that asked for it.

    Called before the commit: an event is there exactly if what it tells of is.
    """
    told = [event for event in uow.news if event.type in KINDS]
    if not told:
        return
    query = select(SubscriptionRow.id, SubscriptionRow.project_id, SubscriptionRow.kinds)
    subscriptions = (await uow.session.execute(query.where(SubscriptionRow.enabled.is_(True)))).all()
    rows = [
        _row(uow, event, subscription.id)
        for event in told
        for subscription in subscriptions
        if subscription.project_id in (None, event.project)
        and (subscription.kinds is None or event.type in subscription.kinds)
    ]
    if rows:
        await uow.session.execute(insert(OutboxRow), rows)


def _row(uow: UnitOfWork, event: Event, subscription_id: str) -> dict[str, object]:
    return {
        "subscription_id": subscription_id,
        "event_id": event.id,
        "kind": event.type,
        "body": event.encode(),
        "created_at": uow.now,
    }
