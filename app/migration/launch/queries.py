"""Reading tests, and what of a checkpoint is needed to start it."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import or_, select

from app.contract.words import ConsistencyLabel, TestState
from app.kit.database import UnitOfWork
from app.launch.machine import DiskContent
from app.migration.launch.machines import DiskPlace, boot_order
from app.migration.launch.tables import TestRow
from app.migration.replication.errors import CheckpointNotFound
from app.migration.replication.tables import CheckpointRow, DiskRootRow
from app.migration.servers.tables import DiskRow, ServerRow
from app.wire import jsonform, messages

LATEST = "latest"


async def live_tests(uow: UnitOfWork, server_id: str) -> list[TestRow]:
    """The tests of a server of which a machine, or a volume, may still be there, the newest first."""
    query = select(TestRow).where(TestRow.server_id == server_id, TestRow.state != TestState.TERMINATED)
    found = await uow.session.scalars(query.order_by(TestRow.id.desc()))
    return list(found)


async def newest_verdict(uow: UnitOfWork, server_id: str) -> TestRow | None:
    """The newest test of a server that passed or failed."""
    query = select(TestRow).where(TestRow.server_id == server_id, TestRow.passed.is_not(None))
    found: TestRow | None = await uow.session.scalar(query.order_by(TestRow.id.desc()).limit(1))
    return found


async def find_checkpoint(uow: UnitOfWork, server: ServerRow, ref: str) -> CheckpointRow:
    """A checkpoint of the server by id, number or `latest`. Raises CheckpointNotFound."""
    query = select(CheckpointRow).where(CheckpointRow.server_id == server.id)
    if ref == LATEST:
        query = query.where(CheckpointRow.id == (server.head_checkpoint_id or ""))
    else:
        number = int(ref) if ref.isdecimal() and len(ref) < 19 else -1
        query = query.where(or_(CheckpointRow.id == ref, CheckpointRow.number == number))
    found = await uow.session.scalar(query)
    if found is None:
        raise CheckpointNotFound(
            f"server {server.name!r} has no checkpoint {ref!r}",
            remedy="list them with: go2cloud replica list",
        )
    return found


async def newest_to_boot(uow: UnitOfWork, server: ServerRow) -> CheckpointRow:
    """The newest checkpoint that is frozen or quiet; the head where all are fuzzy.

    Raises CheckpointNotFound.
    """
    query = select(CheckpointRow).where(
        CheckpointRow.server_id == server.id, CheckpointRow.label != ConsistencyLabel.FUZZY
    )
    found = await uow.session.scalar(query.order_by(CheckpointRow.number.desc()).limit(1))
    return found or await find_checkpoint(uow, server, LATEST)


@dataclass(frozen=True)
class Content:
    """The disks of a checkpoint, the one to boot from first, and the project that has their chunks."""

    project_id: str
    disks: tuple[DiskContent, ...]
    unreadable_bytes: int

    @property
    def size(self) -> int:
        """Bytes of all disks."""
        return sum(disk.size for disk in self.disks)


async def content_of(uow: UnitOfWork, checkpoint_id: str) -> Content:
    """What a checkpoint holds. Raises CheckpointNotFound."""
    checkpoint = await uow.session.get(CheckpointRow, checkpoint_id)
    if checkpoint is None:
        raise CheckpointNotFound(f"there is no checkpoint {checkpoint_id} any more")
    server = await uow.session.get_one(ServerRow, checkpoint.server_id)
    query = select(DiskRootRow, DiskRow).join(DiskRow, DiskRow.id == DiskRootRow.disk_id)
    rows = (await uow.session.execute(query.where(DiskRootRow.checkpoint_id == checkpoint_id))).all()
    inventory = jsonform.build(messages.Inventory, server.inventory)
    order = boot_order([DiskPlace(disk.id, disk.path) for _, disk in rows], inventory.mounts)
    disks = {root.disk_id: _disk(root, disk) for root, disk in rows}
    unreadable = sum(_length(root.unreadable) for root, _ in rows)
    return Content(checkpoint.project_id, tuple(disks[name] for name in order), unreadable)


async def disks_of(uow: UnitOfWork, checkpoint_id: str) -> tuple[str, tuple[str, ...]]:
    """The server of a checkpoint, and the source's paths of its disks, in the order of `content_of`.

    Raises CheckpointNotFound.
    """
    content = await content_of(uow, checkpoint_id)
    checkpoint = await uow.session.get_one(CheckpointRow, checkpoint_id)
    query = select(DiskRow.id, DiskRow.path).where(DiskRow.server_id == checkpoint.server_id)
    paths = {row.id: row.path for row in await uow.session.execute(query)}
    return checkpoint.server_id, tuple(paths.get(disk.disk, "") for disk in content.disks)


def _disk(root: DiskRootRow, disk: DiskRow) -> DiskContent:
    return DiskContent(
        checkpoint=root.checkpoint_id,
        disk=root.disk_id,
        size=root.size,
        root=root.root,
        sector_size=disk.sector_size,
        chunk_size=root.chunk_size,
    )


def _length(ranges: Sequence[Sequence[int]]) -> int:
    return sum(length for _, length in ranges)
