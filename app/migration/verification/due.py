"""Ordering verifications of servers whose last one is old, for as long as a process of role `agent` lives."""

import asyncio
from datetime import timedelta
from typing import Final

from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.services import Services
from app.migration.verification.service import order_due

LOOK_SECONDS: Final = 60.0

_log = get_logger("go2cloud.verification")


async def order_verifications(services: Services) -> None:
    """Look every minute, unless AGENT.VERIFY_DAYS is 0. Several processes may do so at once."""
    every = timedelta(days=services.settings.agent.verify_days)
    was_good = True
    while every:
        try:
            ordered = await services.database.run(lambda uow: order_due(uow, every))
        except Go2CloudError as error:
            if was_good:
                _log.exception("verification.not_ordered", code=error.code)
            was_good = False
        else:
            was_good = True
            if ordered:
                _log.info("verification.ordered", servers=ordered)
        await asyncio.sleep(LOOK_SECONDS)
