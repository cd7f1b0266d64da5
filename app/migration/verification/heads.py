"""A checkpoint as its own agent compares its disks with it: read only, and outside of any session."""

from sqlalchemy import select

from app.kit.database import UnitOfWork
from app.migration.replication.documents import ranges_of
from app.migration.replication.errors import CheckpointNotFound, DiskNotFound
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.enrolment import find_server
from app.migration.servers.tables import DiskRow
from app.migration.verification.errors import LeavesUnreadable
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.objects import ObjectStore
from app.wire.verification import HEAD, CheckpointRoot, CheckpointRoots, LeftOut


async def checkpoint_roots(uow: UnitOfWork, server_id: str, ref: str) -> CheckpointRoots:
    """A checkpoint of the server, or its head. Raises CheckpointNotFound."""
    row = await _checkpoint(uow, server_id, ref)
    query = (
        select(DiskRootRow, DiskRow.disk_key)
        .join(DiskRow, DiskRow.id == DiskRootRow.disk_id)
        .where(DiskRootRow.checkpoint_id == row.id)
        .order_by(DiskRootRow.disk_id)
    )
    disks = tuple(
        CheckpointRoot(root.disk_id, key, root.size, root.chunk_size, root.root.hex())
        for root, key in await uow.session.execute(query)
    )
    return CheckpointRoots(row.id, row.number, row.source_time.isoformat(), disks)


async def _checkpoint(uow: UnitOfWork, server_id: str, ref: str) -> CheckpointRow:
    wanted = (await find_server(uow, server_id)).head_checkpoint_id if ref == HEAD else ref
    row = await uow.session.get(CheckpointRow, wanted) if wanted else None
    if row is None or row.server_id != server_id:
        what = "no checkpoint yet" if ref == HEAD else f"no checkpoint {ref}"
        raise CheckpointNotFound(f"the server has {what}", remedy="compare with the head")
    return row


async def disk_root(uow: UnitOfWork, server_id: str, ref: str, disk_id: str) -> DiskRootRow:
    """A disk of a checkpoint of the server. Raises CheckpointNotFound, DiskNotFound."""
    checkpoint = await _checkpoint(uow, server_id, ref)
    row = await uow.session.get(DiskRootRow, (checkpoint.id, disk_id))
    if row is None:
        raise DiskNotFound(f"checkpoint {checkpoint.number} has no disk {disk_id}")
    return row


def left_out(root: DiskRootRow) -> LeftOut:
    """What of the disk are zeros in the replica, whatever the source holds there."""
    return LeftOut(ranges_of(root.omitted), ranges_of(root.unreadable))


def stored_ids(store: ObjectStore, root: DiskRootRow, start: int, count: int) -> bytes:
    """The chunk ids of `count` leaves of the disk from leaf `start`, 32 KiB each; zeros beyond its end.

    Unlike a session's base, what the store cannot read is no zeros here: it would pass for a difference.
    Raises LeavesUnreadable.
    """
    try:
        node = store.read_root(root.root)
        return b"".join(store.read_leaf(node.leaf(index)) for index in range(start, start + count))
    except (ObjectMissing, ObjectDamaged) as error:
        raise LeavesUnreadable(
            f"leaves {start} to {start + count - 1} of disk {root.disk_id} cannot be read: {error}",
            remedy="the next session that passes over the whole disk heals them",
        ) from error


async def project_of(uow: UnitOfWork, server_id: str) -> str:
    """The project of a server. Raises ServerNotFound."""
    return (await find_server(uow, server_id)).project_id
