"""Who delivers to a subscription: one process at a time, by a guarded update with a fence.

As with jobs (`app.work.leases`), a row holds no end of its lease: who would take over looks whether the beat
moved for a whole lease by its own clock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Update, and_, case, exists, func, or_, select, update
from sqlalchemy.sql.elements import SQLColumnExpression

from app.kit.database import UnitOfWork
from app.kit.settings import Settings
from app.migration.callbacks.errors import Fenced
from app.migration.callbacks.sending import Letter, Receiver
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow
from app.work import pauses
from app.work.leases import Sign

MOST_LOOKED_AT: Final = 1000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A subscription with events to deliver, as it stood when looked at; no `holder`: nobody has it."""

    sign: Sign
    holder: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A process's right to deliver to a subscription, good as long as the row says the same."""

    subscription_id: str
    holder: str
    fence: int

    @property
    def holds(self) -> ColumnElement[bool]:
        """Whether it is still good."""
        return and_(
            SubscriptionRow.id == self.subscription_id,
            SubscriptionRow.holder == self.holder,
            SubscriptionRow.fence == self.fence,
        )

    def renewed(self) -> Update:
        """The update that everything under the claim begins with."""
        return update(SubscriptionRow).where(self.holds).values(beat=SubscriptionRow.beat + 1)


@dataclass(frozen=True, slots=True)
class Next:
    """What is to be delivered next: the row of the outbox, what is sent, and to whom."""

    number: int
    letter: Letter
    receiver: Receiver


async def candidates(uow: UnitOfWork) -> list[Candidate]:
    """Subscriptions that have an event to deliver now, first those that were served longest ago, or never."""
    query = select(SubscriptionRow.id, SubscriptionRow.fence, SubscriptionRow.beat, SubscriptionRow.holder)
    waiting = exists().where(
        OutboxRow.subscription_id == SubscriptionRow.id, _is_due(OutboxRow.not_before, uow.now)
    )
    ready = (SubscriptionRow.enabled.is_(True), _is_due(SubscriptionRow.not_before, uow.now), waiting)
    order = (_served_at(), SubscriptionRow.id)
    rows = await uow.session.execute(query.where(*ready).order_by(*order).limit(MOST_LOOKED_AT))
    return [Candidate(Sign(row.id, row.fence, row.beat), row.holder) for row in rows]


def _served_at() -> ColumnElement[datetime | None]:
    """When the last attempt ended; both databases sort none before all others."""
    success, failure = SubscriptionRow.last_success_at, SubscriptionRow.last_failure_at
    return case((failure > success, failure), else_=func.coalesce(success, failure))


def _is_due(until: SQLColumnExpression[datetime | None], now: datetime) -> ColumnElement[bool]:
    """Its pause is over; one that ends too late is the mark of a clock that was set back."""
    return or_(until.is_(None), until <= now, until > now + pauses.MOST)


async def claim(uow: UnitOfWork, wanted: Candidate, holder: str) -> Claim | None:
    """Take the subscription as it stood; None where another process was quicker."""
    sign = wanted.sign
    same = (
        SubscriptionRow.id == sign.job_id,
        SubscriptionRow.fence == sign.fence,
        SubscriptionRow.beat == sign.beat,
        SubscriptionRow.holder == wanted.holder,
    )
    values = {"holder": holder, "fence": SubscriptionRow.fence + 1, "beat": SubscriptionRow.beat + 1}
    taken = await uow.changed(update(SubscriptionRow).where(*same).values(**values))
    return Claim(sign.job_id, holder, sign.fence + 1) if taken else None


async def renew(uow: UnitOfWork, held: Claim, **values: object) -> None:
    """Give a sign of life, and write these columns. Raises Fenced when the claim is good no longer."""
    if not await uow.changed(held.renewed().values(**values)):
        raise Fenced(f"subscription {held.subscription_id} is no longer ours under fence {held.fence}")


async def release(uow: UnitOfWork, held: Claim) -> None:
    """Let go of the subscription, if it is still ours."""
    await uow.session.execute(update(SubscriptionRow).where(held.holds).values(holder=""))


async def next_of(uow: UnitOfWork, held: Claim, settings: Settings) -> Next | None:
    """The oldest event to be delivered now; None where there is none, or the claim is good no longer."""
    query = (
        select(OutboxRow, SubscriptionRow)
        .join(SubscriptionRow, SubscriptionRow.id == OutboxRow.subscription_id)
        .where(held.holds, SubscriptionRow.enabled.is_(True), _is_due(OutboxRow.not_before, uow.now))
        .order_by(OutboxRow.number)
        .limit(1)
    )
    row = (await uow.session.execute(query)).first()
    if row is None:
        return None
    event, subscription = row
    letter = Letter(event.event_id, event.kind, event.body, event.attempts + 1)
    return Next(event.number, letter, receiver_of(subscription, settings))


def receiver_of(row: SubscriptionRow, settings: Settings) -> Receiver:
    """Where deliveries of a subscription go; the platform is known by the settings, and trusted."""
    if row.project_id is not None:
        return Receiver(row.url, row.secret)
    secret = settings.callbacks.secret
    return Receiver(row.url, secret.get_secret_value() if secret else "", is_trusted=True)
