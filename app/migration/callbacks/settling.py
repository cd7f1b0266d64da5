"""Writing down how an attempt ended, in one unit under the claim."""

from collections.abc import Callable
from functools import partial

from sqlalchemy import ColumnElement, delete, update

from app.contract.callbackwords import DeliveryOutcome
from app.kit.database import UnitOfWork
from app.kit.logging import get_logger
from app.migration.callbacks import claims, meters
from app.migration.callbacks.claims import Claim, Next
from app.migration.callbacks.sending import Answer
from app.migration.callbacks.tables import MOST_DETAIL, OutboxRow, SubscriptionRow
from app.work import pauses

_log = get_logger("go2cloud.callbacks")


async def settle(uow: UnitOfWork, held: Claim, sent: Next, answer: Answer, draw: Callable[[], float]) -> bool:
    """Write the outcome down; whether to go on with the next event.

    What was delivered leaves the outbox. An event that was refused steps aside; after any other failure the
    whole subscription is left alone for a while. Raises Fenced when the claim is good no longer.
    """
    await claims.renew(uow, held)
    row = await uow.session.get_one(SubscriptionRow, held.subscription_id, populate_existing=True)
    before = row.failures
    if answer.outcome is DeliveryOutcome.DELIVERED:
        row.failures, row.not_before, row.last_success_at = 0, None, uow.now
        await uow.session.execute(delete(OutboxRow).where(*_same(sent)))
    else:
        row.failures, row.last_failure_at = before + 1, uow.now
        row.last_failure = answer.detail[:MOST_DETAIL]
        await _put_off(uow, row, sent, answer, draw)
    uow.afterwards.append(partial(_tell, row, sent, answer, before))
    return answer.outcome in (DeliveryOutcome.DELIVERED, DeliveryOutcome.REFUSED)


async def _put_off(
    uow: UnitOfWork, row: SubscriptionRow, sent: Next, answer: Answer, draw: Callable[[], float]
) -> None:
    same = update(OutboxRow).where(*_same(sent)).values(attempts=OutboxRow.attempts + 1)
    if answer.outcome is DeliveryOutcome.REFUSED:
        same = same.values(not_before=uow.now + pauses.pause(sent.letter.attempt, draw))
    else:
        row.not_before = uow.now + pauses.pause(row.failures, draw)
    await uow.session.execute(same)


def _same(sent: Next) -> tuple[ColumnElement[bool], ...]:
    """The row that was sent, by its event too: SQLite gives the number of a row that is gone away again."""
    return (OutboxRow.number == sent.number, OutboxRow.event_id == sent.letter.event_id)


async def _tell(row: SubscriptionRow, sent: Next, answer: Answer, before: int) -> None:
    """Count the attempt; log the first failure and the recovery."""
    meters.ATTEMPTS.labels(meters.subscriber_of(row.project_id), answer.outcome).inc()
    facts = {"subscription": row.id, "event_id": sent.letter.event_id, "detail": answer.detail}
    if answer.outcome is not DeliveryOutcome.DELIVERED and before == 0:
        _log.warning("callbacks.failing", outcome=answer.outcome, **facts)
    elif answer.outcome is DeliveryOutcome.DELIVERED and before:
        _log.info("callbacks.recovered", failures=before, **facts)
