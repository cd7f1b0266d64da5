"""Giving events up that cannot be delivered, so that the outbox is bounded, and measuring what waits.

Done every LOOK_SECONDS beside the deliverer, in each process of role `api`; several may do so at once.
"""

import asyncio
from datetime import timedelta
from functools import partial
from typing import Final

from sqlalchemy import ColumnElement, delete, select, update

from app.kit.bus import Event
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.logging import get_logger
from app.migration.callbacks import meters
from app.migration.callbacks.measuring import measure, waiting
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow
from app.migration.services import Services
from app.work.attempt import TROUBLE

LOOK_SECONDS: Final = 10.0
MOST_WAITING: Final = 50_000
"""Events of one subscription; of more the oldest are dropped. About 20 MB of the database."""

MOST_AT_ONCE: Final = 500
DROPPED_EVENT: Final = "callback.dropped"

_log = get_logger("go2cloud.callbacks")


async def sweep(services: Services) -> None:
    """Look for ever; a database that is away is said once, and looked for again.

    Anything unforeseen is a defect, which is logged each time and does not end the looking.
    """
    is_failing = False
    while True:
        try:
            await sweep_once(services)
        except TROUBLE as error:
            if not is_failing:
                _log.warning("callbacks.sweep_failed", error=str(error))
            is_failing = True
        except Exception:  # noqa: BLE001  (a defect must not end the looking)
            _log.exception("callbacks.sweep_died")
        else:
            is_failing = False
        await asyncio.sleep(LOOK_SECONDS)


async def sweep_once(services: Services, most_waiting: int = MOST_WAITING) -> None:
    """Drop what is too old, too much or nobody's, then set the gauges."""
    age = timedelta(hours=services.settings.callbacks.give_up_hours)
    while await services.database.run(_drop_orphans):
        continue
    while await services.database.run(partial(_drop_old, age=age)):
        continue
    async with services.database.reading() as uow:
        counts = await waiting(uow)
    for subscription in (name for name, count in counts.items() if count > most_waiting):
        while await services.database.run(partial(_cut, subscription=subscription, most=most_waiting)):
            continue
    async with services.database.reading() as uow:
        await measure(uow)


async def _drop_old(uow: UnitOfWork, *, age: timedelta) -> int:
    return await _drop(uow, OutboxRow.created_at < uow.now - age, meters.TOO_OLD, MOST_AT_ONCE)


async def _drop_orphans(uow: UnitOfWork) -> int:
    """Events whose subscription was deleted or disabled while they were being made."""
    told = select(SubscriptionRow.id).where(SubscriptionRow.enabled.is_(True))
    orphaned = OutboxRow.subscription_id.not_in(told)
    return await _drop(uow, orphaned, meters.ORPHANED, MOST_AT_ONCE)


async def _cut(uow: UnitOfWork, *, subscription: str, most: int) -> int:
    """Drop some of the oldest events of a subscription that has more than `most`; how many.

    Its row is locked before they are counted, so that no two processes drop the same surplus twice.
    """
    row = select(SubscriptionRow.id).where(SubscriptionRow.id == subscription)
    await uow.session.execute(row.with_for_update())
    surplus = (await waiting(uow, [subscription])).get(subscription, 0) - most
    if surplus <= 0:
        return 0
    which = OutboxRow.subscription_id == subscription
    return await _drop(uow, which, meters.TOO_MANY, min(surplus, MOST_AT_ONCE))


async def _drop(uow: UnitOfWork, which: ColumnElement[bool], reason: str, most: int) -> int:
    """Drop the oldest events of these, at most so many; how many. Each subscription says how many it lost."""
    query = select(OutboxRow.number, OutboxRow.subscription_id).where(which).order_by(OutboxRow.number)
    found = (await uow.session.execute(query.limit(most))).all()
    by_subscription: dict[str, list[int]] = {}
    for row in found:
        by_subscription.setdefault(row.subscription_id, []).append(row.number)
    total = 0
    for subscription, numbers in sorted(by_subscription.items()):
        gone = await uow.changed(delete(OutboxRow).where(OutboxRow.number.in_(numbers), which))
        total += gone
        if gone:
            await _note(uow, subscription, gone, reason)
    return total


async def _note(uow: UnitOfWork, subscription: str, gone: int, reason: str) -> None:
    """Tell that events were given up: in the subscription, on the bus, in the log and in a metric."""
    same = SubscriptionRow.id == subscription
    raised = update(SubscriptionRow).where(same).values(dropped=SubscriptionRow.dropped + gone)
    await uow.session.execute(raised)
    project = await uow.session.scalar(select(SubscriptionRow.project_id).where(same))
    data: dict[str, Json] = {"events": gone, "reason": reason}
    uow.news.append(Event(DROPPED_EVENT, uow.now, project=project, subject=subscription, data=data))
    uow.afterwards.append(partial(_tell, subscription, gone, reason))


async def _tell(subscription: str, gone: int, reason: str) -> None:
    meters.DROPPED.labels(reason).inc(gone)
    _log.warning("callbacks.dropped", subscription=subscription, events=gone, reason=reason)
