"""How much waits in the outbox, and how deliveries go."""

from collections.abc import Sequence

from sqlalchemy import case, func, select

from app.kit.database import UnitOfWork
from app.migration.callbacks import meters
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow


async def waiting(uow: UnitOfWork, ids: Sequence[str] | None = None) -> dict[str, int]:
    """How many events wait for each subscription (of these, where any are named); none has no entry."""
    query = select(OutboxRow.subscription_id, func.count()).group_by(OutboxRow.subscription_id)
    if ids is not None:
        query = query.where(OutboxRow.subscription_id.in_(ids))
    return {name: count for name, count in await uow.session.execute(query)}  # noqa: C416  (typed rows)


async def measure(uow: UnitOfWork) -> None:
    """Set the gauges."""
    for subscriber in meters.SUBSCRIBERS:
        await _measure_waiting(uow, subscriber)
        await _measure_failing(uow, subscriber)


async def _measure_waiting(uow: UnitOfWork, subscriber: str) -> None:
    query = (
        select(func.count(), func.min(OutboxRow.created_at))
        .join(SubscriptionRow, SubscriptionRow.id == OutboxRow.subscription_id)
        .where(SubscriptionRow.project_id.is_(None) == (subscriber == meters.PLATFORM))
    )
    count, oldest = (await uow.session.execute(query)).one()
    age = 0.0 if oldest is None else max((uow.now - oldest).total_seconds(), 0.0)
    meters.WAITING.labels(subscriber).set(count)
    meters.OLDEST_SECONDS.labels(subscriber).set(age)


async def _measure_failing(uow: UnitOfWork, subscriber: str) -> None:
    failing = func.coalesce(func.sum(case((SubscriptionRow.failures > 0, 1), else_=0)), 0)
    most = func.coalesce(func.max(SubscriptionRow.failures), 0)
    query = select(failing, most).where(
        SubscriptionRow.enabled.is_(True),
        SubscriptionRow.project_id.is_(None) == (subscriber == meters.PLATFORM),
    )
    count, failures = (await uow.session.execute(query)).one()
    meters.FAILING.labels(subscriber).set(int(count))
    meters.MOST_FAILURES.labels(subscriber).set(failures)
