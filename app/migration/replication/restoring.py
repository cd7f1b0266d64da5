"""Restoring an empty database from the store: the protocol `RebuildIndex`.

The store's files name projects, servers and disks, so their rows come back with the ids and names that they
had. Accounts, tokens and the agents' credentials are not in the store: agents enrol again.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, select, update

from app.contract.words import DedupScope, LifecycleState
from app.kit.database import UnitOfWork
from app.migration.projects.tables import ProjectRow
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.packs import chunk_values
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.tables import CheckpointRow, ChunkRow, DiskRootRow, NodeRow, PackRow
from app.migration.servers.tables import DiskRow, ServerRow
from app.store.checkpointfile import CheckpointDisk, CheckpointFile
from app.store.index import Location, NodeInfo, PackInfo
from app.wire.messages import Counters


class DatabaseRebuildIndex(DatabaseIndex):
    """The index as a rebuild fills it."""

    async def restore_pack(self, pack: PackInfo, chunks: Mapping[bytes, Location]) -> None:
        """Insert a live pack and the rows of those of its chunks that have none yet."""
        rows = [chunk_values(pack.project, pack.name, place.entry(name)) for name, place in chunks.items()]

        async def work(uow: UnitOfWork) -> None:
            await uow.session.merge(
                PackRow(
                    name=pack.name,
                    project_id=pack.project,
                    server_id=pack.server,
                    state=pack.state,
                    reference=pack.reference,
                    stored_bytes=pack.stored_bytes,
                    raw_bytes=pack.raw_bytes,
                    created_at=pack.created_at,
                )
            )
            await uow.session.flush()
            await insert_ignoring(uow, ChunkRow, rows)

        await self._database.run(work)

    async def restore_node(self, node: NodeInfo) -> None:
        """Insert a live leaf or root."""

        async def work(uow: UnitOfWork) -> None:
            await uow.session.merge(
                NodeRow(
                    name=node.name,
                    kind=node.kind,
                    state=node.state,
                    reference=node.reference,
                    created_at=node.created_at,
                )
            )

        await self._database.run(work)

    async def restore_checkpoint(self, file: CheckpointFile, confirmed: bool) -> None:
        """Insert a checkpoint, and the project, server and disks that it names where they are unknown."""
        await self._database.run(lambda uow: _restore(uow, file, confirmed))


async def _restore(uow: UnitOfWork, file: CheckpointFile, confirmed: bool) -> None:
    await _project(uow, file)
    await _server(uow, file)
    if not await _gives_way(uow, file, confirmed):
        return
    for disk in file.disks:
        await _disk(uow, file, disk)
    await uow.session.merge(_checkpoint(file, confirmed))
    await uow.session.flush()
    for disk in file.disks:
        await uow.session.merge(_root(file, disk))
    if confirmed:
        await _advance(uow, file)


async def _gives_way(uow: UnitOfWork, file: CheckpointFile, confirmed: bool) -> bool:
    """Whether the number is free for the checkpoint: a refused commit may have left a file with the number
    of a confirmed one, which goes first."""
    same = (CheckpointRow.server_id == file.server, CheckpointRow.number == file.number)
    other = await uow.session.scalar(select(CheckpointRow).where(*same, CheckpointRow.id != file.id))
    if other is None:
        return True
    if confirmed and not other.confirmed:
        await uow.session.execute(delete(CheckpointRow).where(CheckpointRow.id == other.id))
        return True
    return False


async def _project(uow: UnitOfWork, file: CheckpointFile) -> None:
    if await uow.session.get(ProjectRow, file.project) is None:
        same = select(ProjectRow.id).where(ProjectRow.name == file.project_name)
        taken = await uow.session.scalar(same) is not None
        uow.session.add(
            ProjectRow(
                id=file.project,
                name=file.project if taken else file.project_name,
                description="Restored from the store",
                dedup_scope=DedupScope.PROJECT,
                created_at=uow.now,
                version=1,
            )
        )
        await uow.session.flush()


async def _server(uow: UnitOfWork, file: CheckpointFile) -> None:
    if await uow.session.get(ServerRow, file.server) is None:
        uow.session.add(
            ServerRow(
                id=file.server,
                project_id=file.project,
                name=file.server_name,
                hostname=file.server_name,
                inventory={"hostname": file.server_name},
                created_at=uow.now,
            )
        )
        await uow.session.flush()


async def _disk(uow: UnitOfWork, file: CheckpointFile, disk: CheckpointDisk) -> None:
    facts = {"key": disk.key, "path": disk.path, "size": disk.size, "sector_size": disk.sector_size}
    await uow.session.merge(
        DiskRow(
            id=disk.disk_id,
            server_id=file.server,
            disk_key=disk.key,
            path=disk.path,
            size=disk.size,
            sector_size=disk.sector_size,
            chunk_size=disk.chunk_size,
            facts=facts,
            created_at=uow.now,
        )
    )
    await uow.session.flush()


def _checkpoint(file: CheckpointFile, confirmed: bool) -> CheckpointRow:
    return CheckpointRow(
        id=file.id,
        project_id=file.project,
        server_id=file.server,
        number=file.number,
        parent_id=file.parent or None,
        generation=file.generation,
        label=file.label,
        method=file.tracker.method,
        tracker=file.tracker.identity,
        source_time=datetime.fromisoformat(file.source_time),
        created_at=datetime.fromisoformat(file.created_at),
        confirmed=confirmed,
        counters=asdict(Counters.total(disk.counters for disk in file.disks)),
    )


def _root(file: CheckpointFile, disk: CheckpointDisk) -> DiskRootRow:
    return DiskRootRow(
        checkpoint_id=file.id,
        disk_id=disk.disk_id,
        root=bytes.fromhex(disk.root),
        parent_root=bytes.fromhex(disk.parent_root) if disk.parent_root else None,
        size=disk.size,
        used_bytes=disk.used_bytes,
        chunk_size=disk.chunk_size,
        label=disk.label,
        omitted=[list(item) for item in disk.omitted],
        unreadable=[list(item) for item in disk.unreadable],
    )


async def _advance(uow: UnitOfWork, file: CheckpointFile) -> None:
    """Make the checkpoint the server's head; its generation is at least the checkpoint's."""
    server = await uow.session.get_one(ServerRow, file.server)
    values = {
        "head_checkpoint_id": file.id,
        "generation": max(server.generation, file.generation),
        "lifecycle_state": LifecycleState.READY_FOR_TEST,
    }
    await uow.session.execute(update(ServerRow).where(ServerRow.id == file.server).values(**values))
