"""Commit: one compare-and-set that makes a checkpoint of what a session has put.

Order of durability: chunks and leaves are on stable storage before the commit is asked for; root nodes and
the checkpoint file are written next; then ONE transaction moves the head, checks that everything newly
referred to is live and inserts the checkpoint; last comes the commit marker beside the file.

The head is moved first: its row lock makes rival commits of a server wait for each other, and the one that
comes too late learns it there and nowhere else. A commit whose answer was lost, or whose outcome the database
did not tell, is looked up by what it asked for: base, generation and roots. It is acknowledged only when its
marker is durable too, else a rebuild of the database would take it for a refused one.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import or_, select, update

from app.contract.words import ConsistencyLabel, LifecycleState
from app.kit.clock import parsed_time
from app.kit.database import CommitUncertain, UnitOfWork
from app.kit.errors import Invalid
from app.kit.ids import new_id
from app.migration.replication.chains import MAX_NAMED, BrokenChains, packs_below, packs_of_whole
from app.migration.replication.documents import checkpoint_file, names_of
from app.migration.replication.errors import (
    BaseMismatch,
    Fenced,
    MissingChunks,
    MissingLeaves,
    SourceTimeWentBack,
)
from app.migration.replication.index import DatabaseIndex
from app.migration.replication.meters import CHECKPOINTS, SOURCE_BYTES
from app.migration.replication.nodes import write_roots
from app.migration.replication.orders import fulfil_rescan
from app.migration.replication.possession import BATCH, LIVE, owned_chunks
from app.migration.replication.sessions import SessionScope, head_roots, session_scope
from app.migration.replication.tables import (
    CheckpointRow,
    DiskRootRow,
    NodeRow,
    PackRow,
    SessionRow,
)
from app.migration.replication.trees import DiskTree, build_tree
from app.migration.servers.lifecycle import announce
from app.migration.servers.states import after_checkpoint
from app.migration.servers.tables import DiskRow, ServerRow
from app.migration.services import Services
from app.store.checkpointfile import CheckpointFile, CheckpointName
from app.store.index import Registration
from app.store.objects import ObjectStore
from app.wire.messages import Commit, Committed, Counters, DiskRoot, Range

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOST_INTEGER = (1 << 31) - 1


@dataclass(frozen=True)
class Prepared:
    """A commit whose trees are built and whose references are known: all but the transaction."""

    message: Commit
    trees: tuple[DiskTree, ...]
    packs: frozenset[bytes]
    checkpoint: CheckpointRow
    roots: tuple[DiskRootRow, ...]

    @property
    def answer(self) -> Committed:
        """What the agent is told."""
        return _answer(self.checkpoint, self.roots)


async def commit(services: Services, server_id: str, session_id: str, message: Commit) -> Committed:
    """Make the checkpoint, or answer with the one that an earlier try of the same commit made.

    An agent repeats a commit that takes long: the repetition waits here for the one that is under way.

    Raises Fenced, BaseMismatch, MissingChunks, MissingLeaves, RootMismatch, SourceTimeWentBack, Invalid, and
    StoreUnavailable after a long pause of this process. Nothing is half-written: what a refused commit leaves
    behind is an unmarked checkpoint file, which garbage collection removes.
    """
    async with services.commits.of(session_id):
        return await _commit_once(services, server_id, session_id, message)


async def _commit_once(services: Services, server_id: str, session_id: str, message: Commit) -> Committed:
    scope, done = await _earlier_try(services, server_id, session_id, message)
    if done is not None:
        return done
    prepared = await _prepare(services, scope, message)
    file = await _file(services, prepared)
    registration = services.store.registration()
    await asyncio.to_thread(services.store.write_checkpoint, file)
    try:
        await services.database.run(lambda uow: _commit(uow, scope, prepared, registration))
    except (CommitUncertain, Fenced):
        _, done = await _earlier_try(services, server_id, session_id, message)
        if done is None:
            raise
        return done
    await asyncio.to_thread(services.store.confirm_checkpoint, file)
    _count(prepared.checkpoint)
    return prepared.answer


async def _earlier_try(
    services: Services, server_id: str, session_id: str, message: Commit
) -> tuple[SessionScope, Committed | None]:
    """The session, and the checkpoint if this commit made it already: then its marker is made durable."""
    async with services.database.reading() as uow:
        scope = await session_scope(uow, server_id, session_id)
        done = await _already_done(uow, scope, message)
    if done is not None:
        await asyncio.to_thread(_confirm, services.store, server_id, done)
    return scope, done


def _confirm(store: ObjectStore, server_id: str, done: Committed) -> None:
    name = CheckpointName(server_id, done.number, done.checkpoint_id)
    store.confirm_checkpoint(store.read_checkpoint(name))


def _count(checkpoint: CheckpointRow) -> None:
    CHECKPOINTS.labels(checkpoint.label).inc()
    for kind, number in checkpoint.counters.items():
        SOURCE_BYTES.labels(kind).inc(number)


async def _already_done(uow: UnitOfWork, scope: SessionScope, message: Commit) -> Committed | None:
    """The head, if it is what this commit asks for: same session, same base, same roots."""
    if message.generation != scope.generation:
        raise Fenced(f"the commit names generation {message.generation}, the session {scope.generation}")
    if (scope.base_checkpoint_id or "") == message.base:
        return None
    head = await uow.session.get(CheckpointRow, scope.base_checkpoint_id or "")
    roots = await head_roots(uow, scope.base_checkpoint_id)
    asked = {disk.disk_id: disk.root for disk in message.disks}
    held = {disk_id: row.root.hex() for disk_id, row in roots.items()}
    if head is not None and (head.parent_id or "") == message.base and asked == held:
        return _answer(head, tuple(roots.values()))
    raise BaseMismatch(
        f"the commit stands on checkpoint {message.base or 'none'}, the head is {scope.base_checkpoint_id}",
        remedy="open a new session",
    )


def _answer(checkpoint: CheckpointRow, roots: Iterable[DiskRootRow]) -> Committed:
    disks = tuple(DiskRoot(row.disk_id, row.root.hex()) for row in roots)
    return Committed(checkpoint.id, checkpoint.number, disks)


async def _prepare(services: Services, scope: SessionScope, message: Commit) -> Prepared:
    async with services.database.reading() as uow:
        bases = await head_roots(uow, scope.base_checkpoint_id)
        disks = await _disks(uow, scope, message)
        parent = await uow.session.get(CheckpointRow, scope.base_checkpoint_id or "")
    source_time = _source_time(message, parent)
    trees = tuple(
        [
            await build_tree(services.store, disk, bases.get(disk.disk_id), disks[disk.disk_id].chunk_size)
            for disk in message.disks
        ]
    )
    await write_roots(services, scope, [tree.node for tree in trees])
    ids = frozenset().union(*(tree.fresh_ids for tree in trees))
    try:
        async with services.database.reading() as uow:
            packs, now = await _referenced_packs(uow, scope, ids), uow.now
    except BrokenChains as error:
        await DatabaseIndex(services.database).mark_damaged(scope.project_id, error.names)
        raise
    checkpoint = _checkpoint_row(scope, message, parent, trees, source_time, now)
    roots = tuple(_root_row(checkpoint, tree, bases.get(tree.commit.disk_id)) for tree in trees)
    return Prepared(message, trees, packs, checkpoint, roots)


async def _disks(uow: UnitOfWork, scope: SessionScope, message: Commit) -> dict[str, DiskRow]:
    rows = await uow.session.scalars(select(DiskRow).where(DiskRow.server_id == scope.server_id))
    disks = {row.id: row for row in rows}
    asked = [disk.disk_id for disk in message.disks]
    if not asked or len(set(asked)) != len(asked) or not set(asked) <= disks.keys():
        raise Invalid(
            "a commit names each of its disks once, and only disks of its own server", code="BAD_COMMIT"
        )
    for disk in message.disks:
        _require_ranges(disk.disk_id, disk.omitted, disk.size)
        _require_ranges(disk.disk_id, disk.unreadable, disk.size)
    return disks


def _require_ranges(disk_id: str, ranges: Iterable[Range], size: int) -> None:
    """Refuse ranges that are empty, out of order, overlapping or beyond the disk's end. Raises Invalid."""
    behind = 0
    for offset, length in ranges:
        if length == 0 or offset < behind or offset + length > size:
            raise Invalid(
                f"disk {disk_id}: the range of {length} bytes from {offset} is empty, out of order or beyond "
                f"the disk's {size} bytes",
                code="BAD_COMMIT",
            )
        behind = offset + length


async def _referenced_packs(uow: UnitOfWork, scope: SessionScope, ids: frozenset[bytes]) -> frozenset[bytes]:
    """The packs of chunks that are newly referred to, and of the chunks that their deltas stand on.

    Raises MissingChunks for ids that the server does not possess, BrokenChains.
    """
    packs = await packs_of_whole(uow, scope, ids)
    if packs is None:
        owned = await owned_chunks(uow, scope, ids)
        _require_all(ids, owned)
        packs = await packs_below(uow, scope, owned)
    return packs


def _require_all(wanted: frozenset[bytes], found: Collection[bytes]) -> None:
    missing = wanted - set(found)
    if missing:
        raise MissingChunks(
            f"{len(missing)} chunks of the commit were not put by this server, or are gone",
            remedy="open a new session and put them",
            ids=[name.hex() for name in sorted(missing)[:MAX_NAMED]],
        )


def _checkpoint_row(
    scope: SessionScope,
    message: Commit,
    parent: CheckpointRow | None,
    trees: tuple[DiskTree, ...],
    source_time: datetime,
    now: datetime,
) -> CheckpointRow:
    return CheckpointRow(
        id=new_id("chk"),
        project_id=scope.project_id,
        server_id=scope.server_id,
        number=parent.number + 1 if parent else 1,
        parent_id=scope.base_checkpoint_id,
        generation=scope.generation,
        label=_label(message.label),
        method=message.method[:32],
        tracker=message.tracker[:255],
        source_time=source_time,
        created_at=now,
        counters=asdict(Counters.total(tree.commit.counters for tree in trees)),
        freeze_ms=min(message.freeze_ms, MOST_INTEGER),
        rounds=min(message.rounds, MOST_INTEGER),
    )


def _label(text: str) -> str:
    try:
        return ConsistencyLabel(text)
    except ValueError as error:
        raise Invalid(f"{text[:64]!r} is not a consistency label", code="BAD_COMMIT") from error


def _source_time(message: Commit, parent: CheckpointRow | None) -> datetime:
    """The moment that the commit shows; never before that of its base, which is the head if it counts."""
    time = _time(message.source_time)
    if parent is not None and time < parent.source_time:
        head = parent.source_time.isoformat()
        raise SourceTimeWentBack(
            f"the commit shows the source at {time.isoformat()}, and the head at {head}",
            remedy="state the head's time until the source's clock is past that, or set the clock",
            headTime=head,
        )
    return time


def _time(text: str) -> datetime:
    try:
        at = parsed_time(text)
    except ValueError as error:
        raise Invalid(str(error), code="BAD_COMMIT") from error
    if at < EPOCH:
        raise Invalid(f"the time {text} lies before 1970: the source's clock is wrong", code="BAD_COMMIT")
    return at


def _root_row(checkpoint: CheckpointRow, tree: DiskTree, base: DiskRootRow | None) -> DiskRootRow:
    return DiskRootRow(
        checkpoint_id=checkpoint.id,
        disk_id=tree.commit.disk_id,
        root=tree.node.hash,
        parent_root=base.root if base else None,
        size=tree.commit.size,
        used_bytes=tree.used_bytes,
        chunk_size=tree.node.chunk_size,
        label=_label(tree.commit.label),
        omitted=[list(item) for item in tree.commit.omitted],
        unreadable=[list(item) for item in tree.commit.unreadable],
    )


async def _file(services: Services, prepared: Prepared) -> CheckpointFile:
    async with services.database.reading() as uow:
        names = await names_of(uow, prepared.checkpoint.server_id)
    counters = {disk.disk_id: disk.counters for disk in prepared.message.disks}
    return checkpoint_file(prepared.checkpoint, prepared.roots, counters, names)


async def _commit(
    uow: UnitOfWork, scope: SessionScope, prepared: Prepared, registration: Registration
) -> None:
    """The transaction: the head is moved, everything referred to is live, the checkpoint exists."""
    registration.require(uow.now)
    await _move_head(uow, scope, prepared.checkpoint)
    await _refer(uow, PackRow, prepared.packs, MissingChunks)
    leaves = frozenset().union(*(tree.fresh_leaves for tree in prepared.trees))
    await _refer(uow, NodeRow, leaves, MissingLeaves)
    for row in (prepared.checkpoint, *prepared.roots):
        await uow.session.merge(row)
    if prepared.message.rescan:
        await fulfil_rescan(uow, scope.server_id, prepared.message.rescan)


async def _refer(
    uow: UnitOfWork,
    table: type[PackRow | NodeRow],
    names: frozenset[bytes],
    error: type[MissingChunks | MissingLeaves],
) -> None:
    """Count a reference on each of these rows, which locks them; all of them must be live."""
    ordered = sorted(names)
    for at in range(0, len(ordered), BATCH):
        batch = ordered[at : at + BATCH]
        touched = await uow.changed(
            update(table)
            .where(table.name.in_(batch), table.state == LIVE)
            .values(reference=table.reference + 1)
        )
        if touched != len(batch):
            raise error(
                "garbage collection took something that the commit refers to",
                remedy="open a new session and put what is missing",
            )


async def _move_head(uow: UnitOfWork, scope: SessionScope, checkpoint: CheckpointRow) -> None:
    """The compare-and-set: only the newest generation moves the head, and only from the commit's base."""
    server = await uow.session.get_one(ServerRow, scope.server_id, populate_existing=True)
    base = scope.base_checkpoint_id
    before = LifecycleState(server.lifecycle_state)
    after = before if server.reverse_of is not None else after_checkpoint(before)
    held = ServerRow.head_checkpoint_id.is_(None) if base is None else ServerRow.head_checkpoint_id == base
    moved = await uow.changed(
        update(ServerRow)
        .where(ServerRow.id == scope.server_id, ServerRow.generation == scope.generation, held)
        .values(
            head_checkpoint_id=checkpoint.id,
            lifecycle_state=after,
            version=ServerRow.version + 1,
        )
    )
    if not moved:
        raise Fenced(
            f"a newer session of server {server.name} exists, or its head has moved",
            remedy="open a new session; everything uncommitted counts as dirty again",
        )
    announce(uow, server, before, after)
    await uow.session.execute(
        update(SessionRow)
        .where(SessionRow.id == scope.id, or_(SessionRow.ended_at.is_(None), SessionRow.ended_at > uow.now))
        .values(base_checkpoint_id=checkpoint.id, active_at=uow.now)
    )
