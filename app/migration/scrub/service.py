"""Scrub rounds: who may read on, from where, and what was found.

There is one round at a time, and one process that reads: whoever holds the lease of the round's row, which
each step renews by a guarded update. A process that died is succeeded when its lease has ended; what it read
since its last step is read again.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, or_, select, update

from app.contract.resources.scrub import Scrub, ScrubFinding, ScrubRound
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.kit.settings import StoreSettings
from app.migration.replication.statements import insert_ignoring
from app.migration.scrub.tables import ScrubRoundRow
from app.store.findings import CheckReport

HOLD: Final = timedelta(minutes=5)
"""For how long a step may read without another process taking over."""
MOST_FINDINGS: Final = 100
KEPT_ROUNDS: Final = 12
_FIRST: Final = bytes(32)


async def claim(uow: UnitOfWork, holder: str, every: timedelta) -> ScrubRoundRow | None:
    """The round in which `holder` may read on; None where none is due, or another process has it.

    A round begins `every` after the one before began, or at its end if that is later.
    """
    row = await _standing(uow) or await _begun(uow, every)
    if row is None:
        return None
    is_free = or_(
        ScrubRoundRow.holder.in_((holder, "")),
        ScrubRoundRow.lease_until.is_(None),
        ScrubRoundRow.lease_until < uow.now,
    )
    held = await uow.changed(
        update(ScrubRoundRow)
        .where(ScrubRoundRow.id == row.id, ScrubRoundRow.is_standing.is_(True), is_free)
        .values(holder=holder, lease_until=uow.now + HOLD)
    )
    return await _standing(uow) if held else None


async def _standing(uow: UnitOfWork) -> ScrubRoundRow | None:
    query = select(ScrubRoundRow).where(ScrubRoundRow.is_standing.is_(True))
    return await uow.session.scalar(query.execution_options(populate_existing=True))


async def _begun(uow: UnitOfWork, every: timedelta) -> ScrubRoundRow | None:
    last = await uow.session.scalar(select(ScrubRoundRow).order_by(ScrubRoundRow.id.desc()).limit(1))
    if last is not None and last.started_at + every > uow.now:
        return None
    await _forget_old(uow)
    row = {"id": new_id("scr"), "is_standing": True, "cursor": _FIRST, "started_at": uow.now, "findings": []}
    await insert_ignoring(uow, ScrubRoundRow, [row])
    return await _standing(uow)


async def _forget_old(uow: UnitOfWork) -> None:
    newest_first = select(ScrubRoundRow.id).order_by(ScrubRoundRow.id.desc())
    old = list(await uow.session.scalars(newest_first.offset(KEPT_ROUNDS).limit(1000)))
    await uow.session.execute(delete(ScrubRoundRow).where(ScrubRoundRow.id.in_(old)))


async def advance(
    uow: UnitOfWork, row: ScrubRoundRow, report: CheckReport, cursor: bytes | None, rest: timedelta
) -> bool:
    """Keep what a step found; False when another process took over meanwhile and the step does not count.

    `cursor` None: the round is over. `rest` is for how long the holder waits before its next step.
    """
    found = [[item.kind.value, item.object, item.detail, item.chunks] for item in report.findings]
    values: dict[str, object] = {
        "packs": ScrubRoundRow.packs + report.packs_read,
        "bytes_read": ScrubRoundRow.bytes_read + report.bytes_read,
        "chunks_damaged": ScrubRoundRow.chunks_damaged + report.chunks_damaged,
        "finding_count": ScrubRoundRow.finding_count + len(found),
        "findings": (row.findings + found)[:MOST_FINDINGS],
        "lease_until": uow.now + rest + HOLD,
    }
    if cursor is None:
        values |= {"is_standing": None, "finished_at": uow.now}
    else:
        values["cursor"] = cursor
    mine = (
        ScrubRoundRow.id == row.id,
        ScrubRoundRow.holder == row.holder,
        ScrubRoundRow.cursor == row.cursor,
    )
    return bool(await uow.changed(update(ScrubRoundRow).where(*mine).values(**values)))


async def scrub_view(uow: UnitOfWork, settings: StoreSettings) -> Scrub:
    """How scrubbing stands."""
    current = await _standing(uow)
    over = select(ScrubRoundRow).where(ScrubRoundRow.is_standing.is_(None))
    last = await uow.session.scalar(over.order_by(ScrubRoundRow.id.desc()).limit(1))
    return Scrub(
        bytes_per_second=settings.scrub_bytes_per_second,
        days=settings.scrub_days,
        current=_view(current) if current else None,
        last=_view(last) if last else None,
    )


def _view(row: ScrubRoundRow) -> ScrubRound:
    return ScrubRound(
        id=row.id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        share=_share(row.cursor, row.finished_at),
        packs=row.packs,
        bytes_read=row.bytes_read,
        chunks_damaged=row.chunks_damaged,
        finding_count=row.finding_count,
        findings=tuple(
            ScrubFinding(kind=str(kind), object=str(name), detail=str(detail), chunks=int(str(chunks)))
            for kind, name, detail, chunks in row.findings
        ),
    )


def _share(cursor: bytes, finished_at: datetime | None) -> float:
    """Names of packs are hashes: where the cursor stands among all names is how much is done."""
    return 1.0 if finished_at else round(int.from_bytes(cursor[:8], "big") / 2**64, 4)
