"""Verifications as the contract shows them."""

from collections.abc import Sequence

from sqlalchemy import func, select

from app.contract.resources.checkpoint import ByteRange
from app.contract.resources.verification import Verification, VerificationSummary, VerifiedDisk
from app.contract.words import Verdict, VerificationLevel, WorkState
from app.kit.database import UnitOfWork
from app.migration.verification.tables import VerificationRow
from app.wire import jsonform
from app.wire import verification as wire


async def newest_verifications(uow: UnitOfWork, server_ids: Sequence[str]) -> dict[str, VerificationSummary]:
    """The newest verification of each of these servers that had one, in one query."""
    newest = (
        select(func.max(VerificationRow.id))
        .where(VerificationRow.server_id.in_(server_ids))
        .group_by(VerificationRow.server_id)
    )
    rows = await uow.session.scalars(select(VerificationRow).where(VerificationRow.id.in_(newest)))
    return {row.server_id: _summary(row) for row in rows}


def _summary(row: VerificationRow) -> VerificationSummary:
    return VerificationSummary(
        id=row.id,
        level=VerificationLevel.ONLINE,
        state=WorkState(row.state),
        verdict=Verdict(row.verdict) if row.verdict else None,
        time=row.finished_at or row.started_at or row.requested_at,
    )


def verification_view(row: VerificationRow, *, with_disks: bool = True) -> Verification:
    """One verification."""
    result = jsonform.build(wire.Verification, row.result) if row.result is not None else None
    return Verification(
        id=row.id,
        server_id=row.server_id,
        state=WorkState(row.state),
        verdict=Verdict(row.verdict) if row.verdict else None,
        automatic=row.automatic,
        checkpoint_id=row.checkpoint_id,
        done_bytes=row.done_bytes,
        total_bytes=row.total_bytes,
        requested_at=row.requested_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        code=(result.code if result else None) or None,
        detail=(result.detail if result else None) or None,
        disks=tuple(map(_disk, result.disks)) if result and with_disks else (),
    )


def _disk(found: wire.DiskVerification) -> VerifiedDisk:
    return VerifiedDisk(
        key=found.key,
        size_bytes=found.size,
        verdict=Verdict(found.verdict),
        read_bytes=found.read,
        compared_bytes=found.compared,
        omitted_bytes=found.omitted,
        unreadable_bytes=found.unreadable,
        lost_bytes=found.lost,
        excused_bytes=found.excused,
        unproved_bytes=found.unproved,
        unexplained_bytes=found.unexplained_bytes,
        unexplained=tuple(ByteRange(offset=offset, length=length) for offset, length in found.unexplained),
        seconds=found.milliseconds / 1000,
        code=found.code or None,
        note=found.note or None,
    )
