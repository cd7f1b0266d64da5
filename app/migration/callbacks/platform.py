"""The built-in subscription: the platform, where PLATFORM_CALLBACK_URL names one."""

from functools import partial
from typing import Final

from sqlalchemy import delete, update
from sqlalchemy.exc import IntegrityError

from app.kit.database import UnitOfWork
from app.migration.callbacks.tables import OutboxRow, SubscriptionRow
from app.migration.services import Services

PLATFORM_ID: Final = "sub-platform"
PLATFORM_NAME: Final = "platform"


async def keep_platform(services: Services) -> None:
    """Let the built-in subscription be what the settings of role `api` say. Repeating it changes nothing."""
    work = partial(_keep, url=services.settings.platform_callback_url)
    try:
        await services.database.run(work)
    except IntegrityError:
        await services.database.run(work)  # another process made it at the same moment


async def _keep(uow: UnitOfWork, *, url: str | None) -> None:
    row = await uow.session.get(SubscriptionRow, PLATFORM_ID)
    if url is None:
        await uow.session.execute(delete(OutboxRow).where(OutboxRow.subscription_id == PLATFORM_ID))
        await uow.session.execute(delete(SubscriptionRow).where(SubscriptionRow.id == PLATFORM_ID))
    elif row is None:
        made = SubscriptionRow(
            id=PLATFORM_ID, name=PLATFORM_NAME, url=url, created_at=uow.now, updated_at=uow.now
        )
        uow.session.add(made)
        await uow.session.flush()
    elif row.url != url:
        values = {"url": url, "updated_at": uow.now, "not_before": None, "version": row.version + 1}
        same = update(SubscriptionRow).where(SubscriptionRow.id == PLATFORM_ID)
        await uow.session.execute(same.values(**values))
