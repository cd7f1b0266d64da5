"""A small store with disks in it, made the way a gateway makes them."""

import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.kit.clock import ManualClock
from app.store.checkpointfile import CheckpointDisk, CheckpointFile, CheckpointName, TrackerEvidence
from app.store.folder import FolderBackend
from app.store.index import CheckpointInfo
from app.store.layout import NodeKind, node_prefix, pack_key
from app.store.objects import ObjectStore
from app.store.outboard import hashed
from app.store.pack import PackBuilder, SealedPack
from app.store.reader import ChunkReader
from app.wire.chunks import MIB, ZERO_ID, chunk_count, chunk_id, chunk_length, name_of
from app.wire.codec import Codec, encode
from app.wire.patch import make_patch, signatures
from app.wire.tree import LEAF_BYTES, LEAF_IDS, ZERO_LEAF, RootNode
from tests.store.memory_index import MemoryIndex, checkpoint_info

KIB = 1024
CHUNK = 64 * KIB
GRACE = timedelta(hours=2)
MOST_OF_A_PACK = 32 * MIB
"""A builder takes no more."""
PROJECT = "prj-one"
SERVER = "srv-one"


@dataclass(frozen=True)
class Made:
    """A committed checkpoint of one disk, and what it refers to."""

    info: CheckpointInfo
    root: RootNode
    ids: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    packs: tuple[bytes, ...]


@dataclass
class World:
    """Store and index; time passes through `age`."""

    path: Path
    clock: ManualClock
    objects: ObjectStore
    index: MemoryIndex
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def reader(self) -> ChunkReader:
        return ChunkReader(self.objects, self.index)

    def age(self, by: timedelta) -> None:
        """Let time pass: files follow the system's clock, so everything gets older instead."""
        for file in self.path.rglob("*"):
            if file.is_file():
                then = file.stat().st_mtime - by.total_seconds()
                os.utime(file, (then, then))
        index = self.index
        index.pack_rows = {n: replace(r, created_at=r.created_at - by) for n, r in index.pack_rows.items()}
        index.node_rows = {n: replace(r, created_at=r.created_at - by) for n, r in index.node_rows.items()}
        index.condemned_at = {n: at - by for n, at in index.condemned_at.items()}
        self.objects = ObjectStore(self.objects.backend, clock=self.clock, grace=GRACE)

    def put_chunks(
        self,
        chunks: dict[bytes, bytes],
        *,
        session: str = "ses-1",
        server: str = SERVER,
        project: str = PROJECT,
    ) -> SealedPack:
        """Store chunks in one pack and register it."""
        builder = PackBuilder(project, server, target=MOST_OF_A_PACK)
        for name, plain in chunks.items():
            codec, data = encode(plain)
            builder.add(name, codec, len(plain), data, outboard=hashed(plain)[1])
        return self.register(builder.seal(), session)

    def put_delta(self, plain: bytes, base: bytes, base_plain: bytes, depth: int) -> bytes:
        """Store one chunk as a patch of another."""
        patch = make_patch(plain, signatures(base_plain))
        assert patch is not None
        builder = PackBuilder(PROJECT, SERVER)
        builder.add(chunk_id(plain), Codec.DELTA, len(plain), patch.encode(), base, depth)
        self.register(builder.seal(), "ses-1")
        return chunk_id(plain)

    def register(self, pack: SealedPack, session: str) -> SealedPack:
        self.objects.write_pack(pack)
        self.index.put_pack(pack, session)
        return pack

    def put_disk(self, content: bytes, *, session: str = "ses-1", chunk_size: int = CHUNK) -> "Tree":
        """Store what the index lacks of a disk: chunks, leaves and the root node."""
        size = len(content)
        ids, plain = [], {}
        for at in range(chunk_count(size, chunk_size)):
            start = at * chunk_size
            data = content[start : start + chunk_length(at, size, chunk_size)]
            ids.append(name_of(data))
            plain[ids[-1]] = data
        plain.pop(ZERO_ID, None)
        fresh = {name: data for name, data in plain.items() if (PROJECT, name) not in self.index.chunks}
        packs = (self.put_chunks(fresh, session=session).name,) if fresh else ()
        leaves = [self._put_leaf(ids[at : at + LEAF_IDS], session) for at in range(0, len(ids), LEAF_IDS)]
        root = RootNode(size, chunk_size, b"".join(leaves))
        self.objects.write_root(root)
        self.index.put_node(NodeKind.ROOT, root.hash, session)
        nodes = tuple(name for name in {*leaves, root.hash} if name != ZERO_LEAF)
        return Tree(root, tuple(name for name in dict.fromkeys(ids) if name != ZERO_ID), nodes, packs)

    def _put_leaf(self, ids: list[bytes], session: str) -> bytes:
        name = self.objects.write_leaf(b"".join(ids).ljust(LEAF_BYTES, b"\0"))
        if name != ZERO_LEAF:
            self.index.put_node(NodeKind.LEAF, name, session)
        return name

    def commit(self, tree: "Tree", *, pinned: bool = False, server: str = SERVER) -> Made:
        """Checkpoint file, transaction, commit marker."""
        file = self.file_of(tree, server)
        self.objects.write_checkpoint(file)
        info = checkpoint_info(file, confirmed=True, pinned=pinned)
        self.index.files[file.name] = file
        self.index.commit(info, tree.ids, tree.nodes)
        self.objects.confirm_checkpoint(file)
        return Made(info, tree.root, tree.ids, tree.nodes, tree.packs)

    def file_of(self, tree: "Tree", server: str = SERVER) -> CheckpointFile:
        number = self.numbers[server] = self.numbers.get(server, 0) + 1
        now = self.clock.now().isoformat()
        disk = CheckpointDisk(
            "dsk-one", "serial-1", "/dev/sda", tree.root.size, tree.root.size, 512, tree.root.chunk_size,
            "", tree.root.hash.hex(), "frozen",
        )  # fmt: skip
        return CheckpointFile(
            PROJECT, "one", server, "web", number, f"chk-{number}", "", 1, "frozen", now, now,
            TrackerEvidence("rescan", "boot-1"), (disk,),
        )  # fmt: skip

    def checkpoint(self, content: bytes, *, pinned: bool = False) -> Made:
        return self.commit(self.put_disk(content), pinned=pinned)

    def drop(self, made: Made) -> None:
        """What retention does to a checkpoint."""
        self.objects.unconfirm_checkpoint(made.info.name)
        del self.index.checkpoint_rows[made.info.name.id]
        self.objects.delete_checkpoint(made.info.name)

    def pack_file(self, name: bytes) -> Path:
        return self.path / pack_key(name)

    def node_files(self, kind: NodeKind, name: bytes) -> list[Path]:
        prefix = self.path / node_prefix(kind, name)
        return sorted(prefix.parent.glob(prefix.name + "*"))

    def checkpoint_file(self, name: CheckpointName) -> Path:
        return self.path / name.key


@dataclass(frozen=True)
class Tree:
    """A disk's tree as put, not yet committed."""

    root: RootNode
    ids: tuple[bytes, ...]
    nodes: tuple[bytes, ...]
    packs: tuple[bytes, ...]


def make_world(path: Path) -> World:
    clock = ManualClock(datetime.now(UTC))
    objects = ObjectStore(FolderBackend(path), clock=clock, grace=GRACE)
    return World(path, clock, objects, MemoryIndex(clock))


def flip(path: Path, at: int, bit: int = 1) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    path.write_bytes(data)
