"""The levels of verification v0 to v4 as a report states them: what is claimed, and whether somebody looked.

The text of each level says what was done, in the words of docs/replication.md. Nothing is claimed of the
report's checkpoint that was found of another one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import select

from app.contract.reportwords import ProofResult
from app.contract.resources.report import ReportedDisk, ReportedLevel
from app.contract.words import Verdict, VerificationLevel
from app.kit.database import UnitOfWork
from app.migration.replication.tables import CheckpointRow
from app.migration.report.content import WrittenVolume
from app.migration.scrub.tables import ScrubRoundRow
from app.migration.verification.tables import VerificationRow

L, R = VerificationLevel, ProofResult

CLAIMS: Mapping[VerificationLevel, str] = {
    L.RECEIPT: "what arrived is what was sent",
    L.STORED: "what is stored is still what arrived",
    L.ONLINE: "the replica is the running source, but for what was written since",
    L.COMMIT: "source and replica have the same root hash for every disk",
    L.VOLUME: "the volumes that were written hold the checkpoint, by their own bytes",
}


async def levels(
    uow: UnitOfWork,
    checkpoint: CheckpointRow | None,
    disks: Sequence[ReportedDisk],
    written: Sequence[WrittenVolume],
) -> tuple[ReportedLevel, ...]:
    """All levels, of the checkpoint; without one nothing is verified."""
    if checkpoint is None:
        return tuple(_level(level, R.NOT_VERIFIED, "there is no checkpoint") for level in CLAIMS)
    return (
        _receipt(checkpoint),
        await _stored(uow, checkpoint),
        await _online(uow, checkpoint),
        _commit(checkpoint),
        await _volume(uow, checkpoint, disks, written),
    )


def _level(
    level: VerificationLevel,
    result: ProofResult,
    detail: str,
    time: datetime | None = None,
    number: int | None = None,
) -> ReportedLevel:
    return ReportedLevel(
        level=level, claim=CLAIMS[level], result=result, time=time, checkpoint_number=number, detail=detail
    )


def _receipt(checkpoint: CheckpointRow) -> ReportedLevel:
    if not checkpoint.confirmed:
        return _level(L.RECEIPT, R.NOT_VERIFIED, _RESTORED)
    text = "the service hashed every chunk as it arrived and refused what did not have its name"
    return _level(L.RECEIPT, R.PROVED, text, checkpoint.created_at, checkpoint.number)


_RESTORED = "the checkpoint was restored from the store's files, without proof of its commit"


def _commit(checkpoint: CheckpointRow) -> ReportedLevel:
    if not checkpoint.confirmed:
        return _level(L.COMMIT, R.NOT_VERIFIED, _RESTORED)
    text = (
        "the agent computed the roots from the source's bytes, the service from what it has: they were equal"
    )
    return _level(L.COMMIT, R.PROVED, text, checkpoint.created_at, checkpoint.number)


async def _stored(uow: UnitOfWork, checkpoint: CheckpointRow) -> ReportedLevel:
    """By the scrub rounds, which read all packs of the store, those of other servers, too."""
    over = select(ScrubRoundRow).where(ScrubRoundRow.finished_at.is_not(None))
    last = await uow.session.scalar(over.order_by(ScrubRoundRow.id.desc()).limit(1))
    if last is None:
        return _level(L.STORED, R.NOT_VERIFIED, "the store was never read again from its begin to its end")
    if last.finding_count:
        text = (
            f"reading the whole store again found {last.finding_count} faults, which may be of other servers"
        )
        return _level(L.STORED, R.REFUTED, text, last.finished_at)
    if last.started_at < checkpoint.created_at:
        text = "the store was read again without a fault, but before this checkpoint was made"
        return _level(L.STORED, R.PARTLY, text, last.finished_at)
    text = "the whole store was read again since this checkpoint was made, and every hash was right"
    return _level(L.STORED, R.PROVED, text, last.finished_at, checkpoint.number)


async def _online(uow: UnitOfWork, checkpoint: CheckpointRow) -> ReportedLevel:
    query = select(VerificationRow).where(
        VerificationRow.server_id == checkpoint.server_id, VerificationRow.finished_at.is_not(None)
    )
    last = await uow.session.scalar(query.order_by(VerificationRow.id.desc()).limit(1))
    if last is None:
        return _level(L.ONLINE, R.NOT_VERIFIED, "the running source was never compared with the replica")
    compared = await uow.session.get(CheckpointRow, last.checkpoint_id or "")
    number = compared.number if compared else None
    of = f"checkpoint {number}" if number else "a checkpoint that is not kept any more"
    if last.verdict == Verdict.DIFFERS:
        text = f"the source differed from {of}, and nobody had written that"
        return _level(L.ONLINE, R.REFUTED, text, last.finished_at, number)
    if last.verdict != Verdict.SAME:
        text = f"the comparison with {of} did not come to an end, or could not explain all that differed"
        return _level(L.ONLINE, R.NOT_VERIFIED, text, last.finished_at, number)
    result = R.PROVED if number == checkpoint.number else R.PARTLY
    text = f"the agent read its disks again and compared them with {of}: they were the same"
    return _level(L.ONLINE, result, text, last.finished_at, number)


async def _volume(
    uow: UnitOfWork,
    checkpoint: CheckpointRow,
    disks: Sequence[ReportedDisk],
    written: Sequence[WrittenVolume],
) -> ReportedLevel:
    if not written:
        return _level(L.VOLUME, R.NOT_VERIFIED, "no volume was ever written of this server")
    mine = [each for each in written if each.checkpoint_id == checkpoint.id]
    if {each.disk_id for each in mine} >= {disk.id for disk in disks}:
        return _whole(checkpoint, disks, mine)
    other = await uow.session.get(CheckpointRow, written[-1].checkpoint_id)
    number = other.number if other else None
    of = f"checkpoint {number}" if number else "a checkpoint that is not kept any more"
    text = f"volumes were written of {of} and read back: their roots were right"
    return _level(L.VOLUME, R.PARTLY, text, written[-1].time, number)


def _whole(
    checkpoint: CheckpointRow, disks: Sequence[ReportedDisk], written: Sequence[WrittenVolume]
) -> ReportedLevel:
    time, number = written[-1].time, checkpoint.number
    if all(disk.volume_root == disk.replica_root for disk in disks):
        text = "every disk was written to a volume, read back, and had the checkpoint's root"
        return _level(L.VOLUME, R.PROVED, text, time, number)
    return _level(L.VOLUME, R.REFUTED, "a volume has another root than the checkpoint", time, number)
