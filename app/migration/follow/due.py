"""Ordering what brings targets up to date, for as long as a process of role `agent` lives.

A look every few seconds, instead of an order in each commit: many commits become one job, and a commit does
nothing for this.
"""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Final

from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.follow.service import behind, order_advance
from app.migration.services import Services
from app.work.errors import JobStands

LOOK_SECONDS: Final = 3.0

_log = get_logger("go2cloud.follow")


async def order_due(services: Services) -> int:
    """Order what is due, unless a job for it stands; how many jobs."""
    async with services.database.reading() as uow:
        due = await behind(uow)
    ordered = 0
    for server_id in due:
        with suppress(JobStands):
            await services.database.run(partial(_order, services, server_id))
            ordered += 1
    return ordered


async def _order(services: Services, server_id: str, uow: UnitOfWork) -> None:
    await order_advance(services, uow, server_id)


async def follow_checkpoints(services: Services) -> None:
    """Look for targets that are behind. Several processes may do so at once."""
    was_good = True
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await order_due(services)
        except Go2CloudError as error:
            if was_good:
                _log.exception("follow.not_ordered", code=error.code)
            was_good = False
        else:
            was_good = True
