"""A checkpoint as the store's self-describing file, out of the rows that are about to be committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.kit.database import UnitOfWork
from app.migration.projects.service import project_names
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.tables import DiskRow, ServerRow
from app.store.checkpointfile import CheckpointDisk, CheckpointFile, TrackerEvidence
from app.wire.messages import Counters, Range


@dataclass(frozen=True)
class Names:
    """What the file says of project, server and disks besides their ids."""

    project: str
    server: str
    disks: Mapping[str, DiskRow]


async def names_of(uow: UnitOfWork, server_id: str) -> Names:
    """The names of a server and of what belongs to it."""
    server = await uow.session.get_one(ServerRow, server_id)
    projects = await project_names(uow, frozenset((server.project_id,)))
    disks = await uow.session.scalars(select(DiskRow).where(DiskRow.server_id == server_id))
    return Names(projects[server.project_id], server.name, {row.id: row for row in disks})


def checkpoint_file(
    checkpoint: CheckpointRow,
    roots: Sequence[DiskRootRow],
    counters: Mapping[str, Counters],
    names: Names,
) -> CheckpointFile:
    """The file of a checkpoint; `counters` by disk id."""
    return CheckpointFile(
        project=checkpoint.project_id,
        project_name=names.project,
        server=checkpoint.server_id,
        server_name=names.server,
        number=checkpoint.number,
        id=checkpoint.id,
        parent=checkpoint.parent_id or "",
        generation=checkpoint.generation,
        label=checkpoint.label,
        source_time=checkpoint.source_time.isoformat(),
        created_at=checkpoint.created_at.isoformat(),
        tracker=TrackerEvidence(checkpoint.method, checkpoint.tracker),
        disks=tuple(_disk(root, names.disks[root.disk_id], counters[root.disk_id]) for root in roots),
    )


def _disk(root: DiskRootRow, disk: DiskRow, counters: Counters) -> CheckpointDisk:
    return CheckpointDisk(
        disk_id=root.disk_id,
        key=disk.disk_key,
        path=disk.path,
        size=root.size,
        used_bytes=root.used_bytes,
        sector_size=disk.sector_size,
        chunk_size=root.chunk_size,
        parent_root=root.parent_root.hex() if root.parent_root else "",
        root=root.root.hex(),
        label=root.label,
        omitted=ranges_of(root.omitted),
        unreadable=ranges_of(root.unreadable),
        counters=counters,
    )


def ranges_of(pairs: Sequence[Sequence[int]]) -> tuple[Range, ...]:
    """Ranges as the database keeps them, as messages have them."""
    return tuple((offset, length) for offset, length in pairs)
