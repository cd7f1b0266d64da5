"""Scrubbing for as long as a process of role `agent` lives: step by step, at its own pace."""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import Counter

from app.kit.errors import Go2CloudError
from app.kit.ids import new_id
from app.kit.logging import get_logger
from app.migration.replication.index import DatabaseIndex
from app.migration.scrub.service import advance, claim
from app.migration.scrub.tables import ScrubRoundRow
from app.migration.services import Services
from app.store.check import check_pack
from app.store.findings import CheckReport
from app.store.index import PackInfo

STEP_BYTES: Final = 64 << 20
STEP_PACKS: Final = 64
IDLE_SECONDS: Final = 60.0

BYTES = Counter("go2cloud_scrubbed_bytes_total", "Bytes of packs that were read again.")
DAMAGED = Counter("go2cloud_scrub_damaged_chunks_total", "Chunks that scrubbing found damaged or lost.")
ROUNDS = Counter("go2cloud_scrub_rounds_total", "Scrub rounds that came to their end.")

_log = get_logger("go2cloud.scrub")


async def scrub(services: Services) -> None:
    """Scrub, unless STORE.SCRUB_BYTES_PER_SECOND is 0. Of several processes one reads at a time."""
    if not services.settings.store.scrub_bytes_per_second:
        return
    scrubber, was_good = Scrubber(services), True
    while True:
        try:
            rest = await scrubber.step()
        except Go2CloudError as error:
            if was_good:
                _log.exception("scrub.failed", code=error.code)
            was_good, rest = False, IDLE_SECONDS
        else:
            was_good = True
        await asyncio.sleep(rest)


class Scrubber:
    """One process's part in the rounds."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._index = DatabaseIndex(services.database)
        self._holder = new_id("scb")

    async def step(self) -> float:
        """Read some packs, if it is this process's turn; seconds until the next step.

        Chunks that are found bad are marked, so that agents send them again. Raises StoreUnavailable.
        """
        store = self._services.settings.store
        every = timedelta(days=store.scrub_days)
        row = await self._services.database.run(lambda uow: claim(uow, self._holder, every))
        if row is None:
            return IDLE_SECONDS
        packs = _one_step(await self._index.live_packs_after(row.cursor, STEP_PACKS))
        report = await self._read(packs)
        rest = report.bytes_read / store.scrub_bytes_per_second if packs else IDLE_SECONDS
        cursor = packs[-1].name if packs else None
        kept = await self._services.database.run(
            lambda uow: advance(uow, row, report, cursor, timedelta(seconds=rest))
        )
        if kept and cursor is None:
            self._finished(row)
        return rest

    async def _read(self, packs: list[PackInfo]) -> CheckReport:
        total = CheckReport()
        for pack in packs:
            report = await check_pack(self._services.store, self._index, pack)
            total.findings += report.findings
            total.packs_read += 1
            total.bytes_read += report.bytes_read
            total.chunks_damaged += report.chunks_damaged
            BYTES.inc(report.bytes_read)
            DAMAGED.inc(report.chunks_damaged)
        for finding in total.findings:
            _log.warning("scrub.found", kind=finding.kind.value, object=finding.object, chunks=finding.chunks)
        return total

    def _finished(self, row: ScrubRoundRow) -> None:
        ROUNDS.inc()
        facts = {"packs": row.packs, "bytes_read": row.bytes_read, "chunks_damaged": row.chunks_damaged}
        _log.info("scrub.round_finished", round=row.id, findings=row.finding_count, **facts)


def _one_step(packs: list[PackInfo]) -> list[PackInfo]:
    """As many of the packs as one step reads, at least one if there is any."""
    chosen: list[PackInfo] = []
    size = 0
    for pack in packs:
        if chosen and size + pack.stored_bytes > STEP_BYTES:
            break
        chosen.append(pack)
        size += pack.stored_bytes
    return chosen
