"""Servers, disks and checkpoints as the contract shows them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import case, func, literal, select

from app.contract.resources.checkpoint import ByteRange, Checkpoint, CheckpointCounters, CheckpointDisk
from app.contract.resources.server import (
    Disk,
    Filesystem,
    Partition,
    Server,
    ServerTotals,
)
from app.contract.words import (
    ConsistencyLabel,
    Firmware,
    LifecycleState,
    ReplicationGoal,
)
from app.kit.database import JsonText, UnitOfWork
from app.migration.catalogue.heads import head_view, heads_of
from app.migration.catalogue.reverses import reverse_views
from app.migration.projects.service import project_names
from app.migration.replication.clocks import lag
from app.migration.replication.heartbeat import backlog_of
from app.migration.replication.orders import allowed_for
from app.migration.replication.possession import LIVE
from app.migration.replication.standing import standing_of
from app.migration.replication.tables import CheckpointRow, DiskRootRow, PackRow
from app.migration.servers.lifecycle import allowed_operations
from app.migration.servers.tables import DiskRow, ServerRow
from app.migration.verification.views import newest_verifications
from app.wire import jsonform, messages


async def server_views(
    uow: UnitOfWork, rows: Sequence[ServerRow], *, with_inventory: bool = False
) -> tuple[Server, ...]:
    """Servers with heads, totals, newest verifications and ways back: eight queries however many."""
    ids = [row.id for row in rows]
    names = await project_names(uow, frozenset(row.project_id for row in rows))
    heads = await heads_of(uow, rows)
    sizes = await _sizes(uow, ids)
    contents = await _contents(uow, heads)
    stored = await _stored(uow, ids)
    verifications = await newest_verifications(uow, ids)
    reverses = await reverse_views(uow, ids)
    return tuple(
        _server(
            row,
            names[row.project_id],
            heads.get(row.head_checkpoint_id or ""),
            contents.get(row.head_checkpoint_id or "", _Content()),
            sizes.get(row.id, 0),
            stored.get(row.id, (0, 0)),
            uow,
            with_inventory,
        ).model_copy(update={"verification": verifications.get(row.id), "reverse": reverses.get(row.id)})
        for row in rows
    )


async def _sizes(uow: UnitOfWork, ids: list[str]) -> dict[str, int]:
    query = select(DiskRow.server_id, func.sum(DiskRow.size)).where(
        DiskRow.server_id.in_(ids), DiskRow.present.is_(True)
    )
    return {
        server: int(size) for server, size in await uow.session.execute(query.group_by(DiskRow.server_id))
    }


@dataclass(frozen=True, slots=True)
class _Content:
    """A checkpoint's bytes that are neither zero nor omitted, and whether some could not be read."""

    used: int = 0
    is_degraded: bool = False


async def _contents(uow: UnitOfWork, heads: Iterable[str]) -> dict[str, _Content]:
    degraded = case((DiskRootRow.unreadable != literal([], JsonText), 1), else_=0)
    query = select(DiskRootRow.checkpoint_id, func.sum(DiskRootRow.used_bytes), func.max(degraded))
    grouped = query.where(DiskRootRow.checkpoint_id.in_(list(heads))).group_by(DiskRootRow.checkpoint_id)
    rows = await uow.session.execute(grouped)
    return {checkpoint: _Content(int(used), bool(bad)) for checkpoint, used, bad in rows}


async def _stored(uow: UnitOfWork, ids: list[str]) -> dict[str, tuple[int, int]]:
    query = select(PackRow.server_id, func.sum(PackRow.stored_bytes), func.sum(PackRow.raw_bytes)).where(
        PackRow.server_id.in_(ids), PackRow.state == LIVE
    )
    rows = await uow.session.execute(query.group_by(PackRow.server_id))
    return {server: (int(stored), int(raw)) for server, stored, raw in rows}


def _totals(size: int, used: int, packs: tuple[int, int]) -> ServerTotals:
    stored, raw = packs
    return ServerTotals(
        size_bytes=size,
        used_bytes=used,
        stored_bytes=stored,
        dedup_ratio=round(used / raw, 3) if raw else None,
        compression_ratio=round(raw / stored, 3) if stored else None,
    )


def _server(
    row: ServerRow,
    project_name: str,
    head: CheckpointRow | None,
    content: _Content,
    size: int,
    packs: tuple[int, int],
    uow: UnitOfWork,
    with_inventory: bool,
) -> Server:
    facts = _inventory(row)
    state = LifecycleState(row.lifecycle_state)
    replication = standing_of(row, uow.now)
    interval = row.checkpoint_interval_seconds
    return Server(
        id=row.id,
        project_id=row.project_id,
        project_name=project_name,
        name=row.name,
        hostname=row.hostname,
        description=row.description,
        lifecycle_state=state,
        replication_state=replication.state,
        replication_reason=replication.reason,
        goal=ReplicationGoal(row.goal),
        checkpoint_interval=None if interval is None else timedelta(seconds=interval),
        wire_rate=row.wire_rate,
        replication_allowed=allowed_for(row, replication.state),
        degraded=content.is_degraded,
        allowed_operations=allowed_operations(row),
        archived=row.archived,
        os=" ".join(part for part in (facts.os_name, facts.os_version) if part) or None,
        kernel=facts.kernel or None,
        architecture=facts.architecture or None,
        cpu_count=facts.cpu_count or None,
        memory_bytes=facts.memory_bytes or None,
        firmware=Firmware(facts.firmware) if facts.firmware in set(Firmware) else None,
        agent_version=row.agent_version or None,
        lag=lag(head.source_time, head.created_at, row.clock_skew_ms, uow.now) if head else None,
        backlog_bytes=backlog_of(row),
        last_seen_at=row.last_seen_at,
        head_checkpoint=head_view(head),
        totals=_totals(size, content.used, packs),
        reverse_of=row.reverse_of,
        inventory=row.inventory if with_inventory else None,
        created_at=row.created_at,
        version=row.version,
    )


def _inventory(row: ServerRow) -> messages.Inventory:
    return jsonform.build(messages.Inventory, row.inventory)


async def disk_views(uow: UnitOfWork, server: ServerRow) -> tuple[Disk, ...]:
    """The disks of a server, with what the head checkpoint holds of each."""
    disks = await uow.session.scalars(
        select(DiskRow).where(DiskRow.server_id == server.id).order_by(DiskRow.id)
    )
    roots = await roots_of(uow, [server.head_checkpoint_id or ""])
    by_disk = {row.disk_id: row for row in roots.get(server.head_checkpoint_id or "", ())}
    mounts = _inventory(server).mounts
    return tuple(_disk(row, by_disk.get(row.id), mounts) for row in disks)


def _disk(row: DiskRow, root: DiskRootRow | None, mounts: tuple[messages.Mount, ...]) -> Disk:
    facts = jsonform.build(messages.Disk, row.facts)
    return Disk(
        id=row.id,
        server_id=row.server_id,
        key=row.disk_key,
        path=row.path,
        size_bytes=row.size,
        sector_size=row.sector_size,
        chunk_size=row.chunk_size,
        serial=facts.serial or None,
        wwn=facts.wwn or None,
        model=facts.model or None,
        partition_table=facts.partition_table,
        partitions=tuple(_partition(row.path, item, mounts) for item in facts.partitions),
        filesystem=_filesystem(facts.filesystem, row.path, mounts),
        root=root.root if root else None,
        omitted_bytes=_length(root.omitted if root else []),
        unreadable_bytes=_length(root.unreadable if root else []),
    )


def _partition(disk: str, item: messages.Partition, mounts: tuple[messages.Mount, ...]) -> Partition:
    separator = "p" if disk[-1:].isdigit() else ""
    return Partition(
        number=item.number,
        offset=item.start,
        size_bytes=item.size,
        type=item.type or None,
        uuid=item.uuid or None,
        name=item.name or None,
        filesystem=_filesystem(item.filesystem, f"{disk}{separator}{item.number}", mounts),
    )


def _filesystem(
    facts: messages.Filesystem | None, device: str, mounts: tuple[messages.Mount, ...]
) -> Filesystem | None:
    if facts is None:
        return None
    points = tuple(mount.target for mount in mounts if mount.source == device)
    return Filesystem(
        type=facts.kind, uuid=facts.uuid or None, label=facts.label or None, mount_points=points
    )


def _length(ranges: Iterable[Sequence[int]]) -> int:
    return sum(length for _, length in ranges)


async def roots_of(uow: UnitOfWork, checkpoint_ids: Sequence[str]) -> dict[str, list[DiskRootRow]]:
    """Disk roots by checkpoint."""
    rows = await uow.session.scalars(
        select(DiskRootRow).where(DiskRootRow.checkpoint_id.in_(checkpoint_ids)).order_by(DiskRootRow.disk_id)
    )
    found: dict[str, list[DiskRootRow]] = {}
    for row in rows:
        found.setdefault(row.checkpoint_id, []).append(row)
    return found


async def checkpoint_views(uow: UnitOfWork, rows: Sequence[CheckpointRow]) -> tuple[Checkpoint, ...]:
    """Checkpoints with their disks."""
    roots = await roots_of(uow, [row.id for row in rows])
    servers = {row.server_id for row in rows}
    found = await uow.session.scalars(select(DiskRow).where(DiskRow.server_id.in_(servers)))
    disks = {row.id: row for row in found}
    return tuple(_checkpoint(row, roots.get(row.id, []), disks) for row in rows)


def _checkpoint(row: CheckpointRow, roots: Sequence[DiskRootRow], disks: dict[str, DiskRow]) -> Checkpoint:
    return Checkpoint(
        id=row.id,
        server_id=row.server_id,
        number=row.number,
        parent=row.parent_id,
        generation=row.generation,
        label=ConsistencyLabel(row.label),
        source_time=row.source_time,
        created_at=row.created_at,
        disks=tuple(_checkpoint_disk(root, disks[root.disk_id]) for root in roots),
        counters=CheckpointCounters(**{f"{name}_bytes": value for name, value in row.counters.items()}),
        freeze_ms=row.freeze_ms,
        rounds=row.rounds,
        degraded=any(root.unreadable for root in roots),
        confirmed=row.confirmed,
    )


def _checkpoint_disk(root: DiskRootRow, disk: DiskRow) -> CheckpointDisk:
    return CheckpointDisk(
        disk_id=root.disk_id,
        key=disk.disk_key,
        path=disk.path,
        size_bytes=root.size,
        chunk_size=root.chunk_size,
        root=root.root,
        parent_root=root.parent_root,
        label=ConsistencyLabel(root.label),
        omitted=tuple(ByteRange(offset=at, length=length) for at, length in root.omitted),
        unreadable=tuple(ByteRange(offset=at, length=length) for at, length in root.unreadable),
    )
