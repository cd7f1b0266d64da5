"""The index protocols in memory, with sessions and commits as the database does them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from app.kit.clock import Clock
from app.store.checkpointfile import CheckpointFile, CheckpointName
from app.store.index import (
    Candidate,
    CheckpointInfo,
    CompactedPack,
    DiskRoot,
    Location,
    NodeInfo,
    Objects,
    ObjectState,
    PackInfo,
)
from app.store.layout import NodeKind
from app.store.pack import SealedPack


class CommitRefusedError(Exception):
    """A commit refers to something that is not live."""


@dataclass
class MemoryIndex:
    """Rows as dictionaries; `holders` says which open session put an object."""

    clock: Clock
    chunks: dict[tuple[str, bytes], Location] = field(default_factory=dict)
    pack_rows: dict[bytes, PackInfo] = field(default_factory=dict)
    node_rows: dict[bytes, NodeInfo] = field(default_factory=dict)
    checkpoint_rows: dict[str, CheckpointInfo] = field(default_factory=dict)
    condemned_at: dict[bytes, datetime] = field(default_factory=dict)
    damaged: set[tuple[str, bytes]] = field(default_factory=set)
    open_sessions: set[str] = field(default_factory=set)
    holders: dict[bytes, str] = field(default_factory=dict)
    files: dict[CheckpointName, CheckpointFile] = field(default_factory=dict)

    # what sessions do

    def put_pack(self, pack: SealedPack, session: str) -> None:
        owner, now = pack.owner, self.clock.now()
        self.pack_rows[pack.name] = PackInfo(
            pack.name, owner.project, owner.server, ObjectState.LIVE, 0, pack.size, pack.raw_bytes, now
        )
        self.holders[pack.name] = session
        for entry in pack.entries:
            self.chunks.setdefault((owner.project, entry.id), Location.of(pack.name, entry))

    def put_node(self, kind: NodeKind, name: bytes, session: str) -> None:
        before = self.node_rows.get(name)
        reference = 0 if before is None else before.reference + 1
        created = self.clock.now() if before is None else before.created_at
        self.node_rows[name] = NodeInfo(name, kind, ObjectState.LIVE, reference, created)
        self.condemned_at.pop(name, None)
        self.holders[name] = session

    def commit(self, checkpoint: CheckpointInfo, ids: Sequence[bytes], nodes: Sequence[bytes]) -> None:
        """Insert the checkpoint if all that it refers to is live; counts a reference on each."""
        packs = {self._known(checkpoint.project, name).pack for name in ids}
        for name in [*packs, *nodes]:
            row = self.pack_rows.get(name) or self.node_rows.get(name)
            if row is None or row.state is not ObjectState.LIVE:
                raise CommitRefusedError(name.hex())
        for name in packs:
            row = self.pack_rows[name]
            self.pack_rows[name] = replace(row, reference=row.reference + 1)
        for name in nodes:
            node = self.node_rows[name]
            self.node_rows[name] = replace(node, reference=node.reference + 1)
        self.checkpoint_rows[checkpoint.name.id] = checkpoint

    def _known(self, project: str, name: bytes) -> Location:
        try:
            return self.chunks[project, name]
        except KeyError:
            raise CommitRefusedError(name.hex()) from None

    def _held(self, name: bytes) -> bool:
        return self.holders.get(name) in self.open_sessions

    # ChunkIndex, ContentIndex, CheckIndex

    async def locate(self, project: str, ids: Sequence[bytes]) -> Mapping[bytes, Location]:
        assert len(ids) <= 4096
        return {name: self.chunks[project, name] for name in ids if (project, name) in self.chunks}

    async def checkpoints(self) -> AsyncIterator[CheckpointInfo]:
        for row in list(self.checkpoint_rows.values()):
            yield row

    async def packs(self) -> AsyncIterator[PackInfo]:
        for row in list(self.pack_rows.values()):
            yield replace(row, held=self._held(row.name))

    async def nodes(self) -> AsyncIterator[NodeInfo]:
        for row in list(self.node_rows.values()):
            yield replace(row, held=self._held(row.name))

    async def chunks_of(self, pack: bytes) -> Mapping[bytes, Location]:
        return {name: at for (_, name), at in self.chunks.items() if at.pack == pack}

    async def mark_damaged(self, project: str, ids: Sequence[bytes]) -> None:
        self.damaged.update((project, name) for name in ids)

    async def mark_whole(self, project: str, ids: Sequence[bytes]) -> None:
        self.damaged.difference_update((project, name) for name in ids)

    async def checkpoint_file(self, name: CheckpointName) -> CheckpointFile | None:
        return self.files.get(name) if name.id in self.checkpoint_rows else None

    # GarbageIndex

    async def chunk_count(self, project: str) -> int:
        return sum(1 for owner, _ in self.chunks if owner == project)

    async def patches(self, project: str) -> AsyncIterator[tuple[bytes, bytes]]:
        for (owner, name), at in list(self.chunks.items()):
            if owner == project and at.base is not None:
                yield name, at.base

    async def condemn(self, packs: Sequence[Candidate], nodes: Sequence[Candidate], now: datetime) -> Objects:
        gone = tuple(item.name for item in packs if self._condemn_pack(item, now))
        dropped = []
        for item in nodes:
            row = self.node_rows.get(item.name)
            if row and self._may_condemn(row, item):
                self.node_rows[item.name] = replace(row, state=ObjectState.CONDEMNED)
                self.condemned_at[item.name] = now
                dropped.append((row.kind, row.name))
        return Objects(gone, tuple(dropped))

    def _may_condemn(self, row: PackInfo | NodeInfo, item: Candidate) -> bool:
        is_same = row.reference == item.reference and row.state is ObjectState.LIVE
        return is_same and not self._held(row.name)

    def _condemn_pack(self, item: Candidate, now: datetime) -> bool:
        row = self.pack_rows.get(item.name)
        if row is None or not self._may_condemn(row, item):
            return False
        self.pack_rows[item.name] = replace(row, state=ObjectState.CONDEMNED)
        self.condemned_at[item.name] = now
        self.chunks = {key: at for key, at in self.chunks.items() if at.pack != item.name}
        return True

    async def relocate(self, new: CompactedPack, now: datetime) -> bool:
        rows = [self.pack_rows.get(item.name) for item in new.old]
        if not all(row and self._may_condemn(row, item) for row, item in zip(rows, new.old, strict=True)):
            return False
        old = {item.name for item in new.old}
        moved = {
            (new.project, name): at
            for name, at in new.chunks.items()
            if (new.project, name) in self.chunks and self.chunks[new.project, name].pack in old
        }
        self.pack_rows[new.name] = PackInfo(
            new.name, new.project, new.server, ObjectState.LIVE, 0, new.stored_bytes, new.raw_bytes, now
        )
        for item in new.old:
            self._condemn_pack(item, now)
        self.chunks |= moved
        return True

    async def condemned_before(self, time: datetime) -> Objects:
        names = [name for name, at in self.condemned_at.items() if at < time]
        nodes = tuple((self.node_rows[name].kind, name) for name in names if name in self.node_rows)
        return Objects(tuple(name for name in names if name in self.pack_rows), nodes)

    async def forget(self, objects: Objects) -> None:
        for name in [*objects.packs, *(name for _, name in objects.nodes)]:
            if name in self.condemned_at:
                del self.condemned_at[name]
                self.pack_rows.pop(name, None)
                self.node_rows.pop(name, None)

    async def drop_checkpoint(self, name: CheckpointName) -> bool:
        row = self.checkpoint_rows.get(name.id)
        if row is not None and row.pinned:
            return False
        self.checkpoint_rows.pop(name.id, None)
        return True

    # RebuildIndex

    async def restore_pack(self, pack: PackInfo, chunks: Mapping[bytes, Location]) -> None:
        self.pack_rows[pack.name] = pack
        for name, at in chunks.items():
            self.chunks.setdefault((pack.project, name), at)

    async def restore_node(self, node: NodeInfo) -> None:
        self.node_rows[node.name] = node

    async def restore_checkpoint(self, file: CheckpointFile, confirmed: bool) -> None:
        self.checkpoint_rows[file.id] = checkpoint_info(file, confirmed=confirmed)


def checkpoint_info(file: CheckpointFile, *, confirmed: bool, pinned: bool = False) -> CheckpointInfo:
    """The row of a checkpoint file."""
    disks = tuple(
        DiskRoot(disk.disk_id, bytes.fromhex(disk.root), disk.size, disk.chunk_size) for disk in file.disks
    )
    time = datetime.fromisoformat(file.created_at)
    return CheckpointInfo(file.project, file.name, confirmed, time, file.label == "frozen", pinned, disks)
