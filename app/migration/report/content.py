"""What of a server's replica a report shows: checkpoint, amounts, disks with their roots."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.contract.resources.report import ReportedCheckpoint, ReportedCopy, ReportedDisk
from app.contract.resources.server import ServerTotals
from app.contract.words import ConsistencyLabel, WorkState
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.migration.cutover.steps import APPLY, PRECOPY
from app.migration.launch.steps import MATERIALISE
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.tables import DiskRow
from app.work.tables import JobRow, JobStepRow

WRITING = (MATERIALISE, PRECOPY, APPLY)
"""The steps whose results are the volumes that they wrote."""
_COUNTED = ("read", "zero", "known", "sent", "patched", "wire")


@dataclass(frozen=True)
class WrittenVolume:
    """A disk of a checkpoint that was written to a target and verified from its own bytes, at `time`."""

    checkpoint_id: str
    disk_id: str
    root: str
    time: datetime


async def checkpoint_of(uow: UnitOfWork, checkpoint_id: str | None) -> CheckpointRow | None:
    """The row of a checkpoint; None for one that is not there any more."""
    return await uow.session.get(CheckpointRow, checkpoint_id) if checkpoint_id else None


def checkpoint_view(row: CheckpointRow, disks: Sequence[ReportedDisk]) -> ReportedCheckpoint:
    """A checkpoint as a report shows it."""
    return ReportedCheckpoint(
        id=row.id,
        number=row.number,
        label=ConsistencyLabel(row.label),
        source_time=row.source_time,
        created_at=row.created_at,
        freeze_seconds=row.freeze_ms / 1000,
        rounds=row.rounds,
        degraded=any(disk.unreadable_bytes for disk in disks),
        confirmed=row.confirmed,
    )


async def copied(
    uow: UnitOfWork, server_id: str, disks: Sequence[ReportedDisk], totals: ServerTotals
) -> ReportedCopy:
    """What it took to make the checkpoints that are kept."""
    query = select(CheckpointRow.counters, CheckpointRow.created_at).where(
        CheckpointRow.server_id == server_id
    )
    rows = [(counters, at) for counters, at in await uow.session.execute(query)]
    amounts = {name: sum(int(counters.get(name, 0)) for counters, _ in rows) for name in _COUNTED}
    return ReportedCopy(
        checkpoints=len(rows),
        since=min((at for _, at in rows), default=None),
        size_bytes=sum(disk.size_bytes for disk in disks),
        used_bytes=sum(disk.used_bytes for disk in disks),
        stored_bytes=totals.stored_bytes,
        dedup_ratio=totals.dedup_ratio,
        compression_ratio=totals.compression_ratio,
        **{f"{name}_bytes": amount for name, amount in amounts.items()},
    )


async def first_number(uow: UnitOfWork, server_id: str) -> int:
    """The number of the oldest checkpoint that is kept; 1 where none was dropped, or there is none."""
    query = select(CheckpointRow.number).where(CheckpointRow.server_id == server_id)
    return await uow.session.scalar(query.order_by(CheckpointRow.number).limit(1)) or 1


async def disks_of(
    uow: UnitOfWork, checkpoint: CheckpointRow | None, written: Sequence[WrittenVolume]
) -> tuple[ReportedDisk, ...]:
    """The disks of a checkpoint by their paths, with the roots of volumes that were written of it."""
    if checkpoint is None:
        return ()
    volumes = {each.disk_id: each.root for each in written if each.checkpoint_id == checkpoint.id}
    query = select(DiskRootRow, DiskRow).join(DiskRow, DiskRow.id == DiskRootRow.disk_id)
    rows = await uow.session.execute(query.where(DiskRootRow.checkpoint_id == checkpoint.id))
    disks = [_disk(root, disk, volumes) for root, disk in rows]
    return tuple(sorted(disks, key=lambda disk: (disk.path, disk.id)))


def _disk(root: DiskRootRow, disk: DiskRow, volumes: Mapping[str, str]) -> ReportedDisk:
    return ReportedDisk(
        id=disk.id,
        key=disk.disk_key,
        path=disk.path,
        size_bytes=root.size,
        used_bytes=root.used_bytes,
        omitted_bytes=_length(root.omitted),
        unreadable_bytes=_length(root.unreadable),
        label=ConsistencyLabel(root.label),
        source_root=root.root,
        replica_root=root.root,
        volume_root=volumes.get(disk.id),
    )


def _length(ranges: Iterable[Sequence[int]]) -> int:
    return sum(length for _, length in ranges)


async def written_volumes(uow: UnitOfWork, server_id: str) -> tuple[WrittenVolume, ...]:
    """The volumes that jobs of the server wrote, the oldest first, those included that are gone since."""
    query = (
        select(JobStepRow.result, JobStepRow.finished_at)
        .join(JobRow, JobRow.id == JobStepRow.job_id)
        .where(
            JobRow.server_id == server_id,
            JobStepRow.name.in_(WRITING),
            JobStepRow.state == WorkState.SUCCEEDED,
            JobStepRow.finished_at.is_not(None),
        )
        .order_by(JobStepRow.finished_at)
    )
    rows = await uow.session.execute(query)
    return tuple(volume for result, at in rows if at is not None for volume in _volumes(result, at))


def _volumes(result: Json, at: datetime) -> Iterable[WrittenVolume]:
    listed = result.get("volumes") if isinstance(result, Mapping) else None
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, Mapping):
            yield WrittenVolume(str(each["checkpoint"]), str(each["disk"]), str(each["root"]), at)
