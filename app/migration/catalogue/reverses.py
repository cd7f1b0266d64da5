"""The ways back of servers as the contract shows them."""

from collections.abc import Sequence

from app.contract.paging import Scope
from app.contract.resources.server import Reverse, ReverseDisk, ReverseReplication
from app.kit.database import UnitOfWork
from app.migration.catalogue.heads import head_view, heads_of
from app.migration.replication.clocks import lag
from app.migration.replication.heartbeat import backlog_of
from app.migration.replication.standing import standing_of
from app.migration.replication.tables import CheckpointRow
from app.migration.servers.enrolment import disk_rows
from app.migration.servers.errors import ReverseNotFound
from app.migration.servers.pairing import Pair, pair_disks
from app.migration.servers.reverses import has_ended, newest_reverse, newest_reverses
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import DiskRow, ServerRow
from app.wire import jsonform, messages


async def reverse_views(uow: UnitOfWork, server_ids: Sequence[str]) -> dict[str, ReverseReplication]:
    """The newest ways back of servers, by the servers' ids; in two queries however many they are."""
    rows = await newest_reverses(uow, server_ids)
    if not rows:
        return {}
    heads = await heads_of(uow, list(rows.values()))
    return {
        server: _replication(uow, row, heads.get(row.head_checkpoint_id or ""))
        for server, row in rows.items()
    }


async def get_reverse(uow: UnitOfWork, scope: Scope, ref: str) -> Reverse:
    """The newest way back of a server, with its disks. Raises ServerNotFound, ReverseNotFound."""
    server = await find_in_scope(uow, scope, ref)
    row = await newest_reverse(uow, server.id)
    if row is None:
        raise ReverseNotFound(
            f"server {server.name!r} has no way back",
            remedy=f"begin one after its cutover: go2cloud server reverse {server.name}",
        )
    heads = await heads_of(uow, [row])
    return Reverse(
        replication=_replication(uow, row, heads.get(row.head_checkpoint_id or "")),
        disks=await _disks(uow, server.id, row.id),
    )


async def _disks(uow: UnitOfWork, server_id: str, reverse_id: str) -> tuple[ReverseDisk, ...]:
    """The source's disks, with those of the machine."""
    old = [row for row in await disk_rows(uow, server_id) if row.present]
    new = [row for row in await disk_rows(uow, reverse_id) if row.present]
    by_key = {row.disk_key: row for row in new}
    pairs = pair_disks([_facts(row) for row in old], [_facts(row) for row in new])
    return tuple(_disk(row, pair, by_key.get(pair.found or "")) for row, pair in zip(old, pairs, strict=True))


def _facts(row: DiskRow) -> messages.Disk:
    return jsonform.build(messages.Disk, row.facts)


def _disk(row: DiskRow, pair: Pair, found: DiskRow | None) -> ReverseDisk:
    return ReverseDisk(
        disk_id=row.id,
        path=row.path,
        size_bytes=row.size,
        reverse_disk_id=found.id if found else None,
        reverse_path=found.path if found else None,
        doubt=pair.doubt,
    )


def _replication(uow: UnitOfWork, row: ServerRow, head: CheckpointRow | None) -> ReverseReplication:
    standing = standing_of(row, uow.now)
    return ReverseReplication(
        server_id=row.id,
        name=row.name,
        ended=has_ended(row),
        replication_state=standing.state,
        replication_reason=standing.reason,
        lag=lag(head.source_time, head.created_at, row.clock_skew_ms, uow.now) if head else None,
        backlog_bytes=backlog_of(row),
        last_seen_at=row.last_seen_at,
        head_checkpoint=head_view(head),
    )
