"""What the store holds, measured now and then: room, bytes stored, and how much they stand for.

It runs beside the agent tier, in each of its processes. The sums go over all packs (1.7 million of them in
40 TiB), so they are made every LOOK_SECONDS and not at each scrape.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, NoReturn

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.contract.words import LifecycleState
from app.kit.database import UnitOfWork
from app.kit.errors import Go2CloudError
from app.kit.logging import get_logger
from app.migration.replication import meters
from app.migration.replication.possession import LIVE
from app.migration.replication.tables import DiskRootRow, PackRow
from app.migration.servers.tables import ServerRow
from app.migration.services import Services

LOOK_SECONDS: Final = 300.0

_log = get_logger("go2cloud.holdings")


@dataclass(frozen=True, slots=True)
class Holdings:
    """Bytes: of packs as stored, of their chunks unpacked, and of the newest checkpoints' disks in use."""

    stored: int
    raw: int
    replicated: int


async def holdings(uow: UnitOfWork) -> Holdings:
    """The sums over all packs that are not condemned, and over all servers that are not disconnected."""
    packs = select(func.sum(PackRow.stored_bytes), func.sum(PackRow.raw_bytes)).where(PackRow.state == LIVE)
    stored, raw = (await uow.session.execute(packs)).one()
    disks = (
        select(func.sum(DiskRootRow.used_bytes))
        .join(ServerRow, ServerRow.head_checkpoint_id == DiskRootRow.checkpoint_id)
        .where(ServerRow.lifecycle_state != LifecycleState.DISCONNECTED, ServerRow.archived.is_(False))
    )
    replicated = await uow.session.scalar(disks)
    return Holdings(int(stored or 0), int(raw or 0), int(replicated or 0))


async def measure(services: Services) -> None:
    """Set the gauges. Raises StoreUnavailable, and what a database that is away raises."""
    room = await asyncio.to_thread(services.store.backend.usage)
    meters.STORE_FREE.set(room.free)
    meters.STORE_SIZE.set(room.total)
    async with services.database.reading() as uow:
        held = await holdings(uow)
    meters.HELD_BYTES.labels("stored").set(held.stored)
    meters.HELD_BYTES.labels("raw").set(held.raw)
    meters.HELD_BYTES.labels("replicated").set(held.replicated)


async def watch(services: Services) -> NoReturn:
    """Measure for ever; what cannot be measured is said once, and tried again."""
    is_failing = False
    while True:
        try:
            await measure(services)
        except (Go2CloudError, SQLAlchemyError) as error:
            if not is_failing:
                _log.warning("holdings.look_failed", error=str(error))
            is_failing = True
        else:
            is_failing = False
        await asyncio.sleep(LOOK_SECONDS)
