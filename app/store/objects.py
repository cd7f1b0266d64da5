"""The store's objects as what they mean: packs, leaves, roots, checkpoint files. Everything read is verified.

All methods are synchronous and may be called from any thread at once; asynchronous code calls them through
`asyncio.to_thread`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from app.kit.clock import Clock, SystemClock
from app.store import checkpointfile, layout
from app.store.backend import Backend, ObjectInfo, Range
from app.store.checkpointfile import CheckpointFile, CheckpointName
from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.index import Location, Registration
from app.store.layout import NodeKind, StoredNode, StoredPack
from app.store.pack import MAX_PACK_BYTES, TRAILER, PackIndex, SealedPack, parse_footer, parse_trailer
from app.store.packcheck import PackExamination, examine
from app.wire.buffers import Buffer
from app.wire.errors import TreeError
from app.wire.frames import MAX_ROOT_PAYLOAD
from app.wire.tree import LEAF_BYTES, ZERO_IDS, ZERO_LEAF, RootNode, leaf_hash

DEFAULT_GRACE: Final = timedelta(days=1)
_YOUNG: Final = 0.25
"""The share of the grace for which a writing of a node serves again, and the share in which the row of what
was written must come: together half, so that the other half is left for the transaction itself."""
_MOST_REMEMBERED: Final = 100_000


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint file or marker that the backend lists; `modified` is the newest of the two."""

    name: CheckpointName
    has_file: bool
    confirmed: bool
    modified: datetime


class ObjectStore:
    """Reads and writes the store's objects on a backend."""

    def __init__(
        self, backend: Backend, *, clock: Clock | None = None, grace: timedelta = DEFAULT_GRACE
    ) -> None:
        """`grace` is the age below which no object is ever deleted."""
        self.backend = backend
        self.clock = clock or SystemClock()
        self.grace = grace
        self._written: dict[tuple[NodeKind, bytes], datetime] = {}
        self._guard = Lock()

    def registration(self) -> Registration:
        """Noted before an object is written: until when its row may come."""
        return Registration(self.clock.now() + self.grace * _YOUNG)

    # packs

    def write_pack(self, pack: SealedPack, *, reserved: bool = False) -> None:
        """Store a pack durably; `reserved` may use the reserve. Raises StoreFull, StoreUnavailable."""
        self.backend.put(layout.pack_key(pack.name), pack.parts, reserved=reserved)

    def read_pack_index(self, name: bytes) -> PackIndex:
        """The pack's index by two small reads. Raises ObjectMissing, ObjectDamaged."""
        key = layout.pack_key(name)
        size = self.backend.info(key).size
        if not TRAILER.size < size <= MAX_PACK_BYTES:
            raise ObjectDamaged(f"{key} has {size} bytes: it was cut off or is no pack", object=key)
        tail = self.backend.get(key, size - TRAILER.size, TRAILER.size)
        try:
            trailer = parse_trailer(tail, size)
            return parse_footer(self.backend.get(key, trailer.offset, trailer.length), tail)
        except ObjectDamaged as error:
            raise ObjectDamaged(f"{key}: {error}", object=key) from error

    def read_record(self, at: Location) -> bytes:
        """The stored bytes of one record, unverified. Raises ObjectMissing, ObjectDamaged (cut off)."""
        return self.backend.get(layout.pack_key(at.pack), at.offset, at.stored_length)

    def read_spans(self, pack: bytes, spans: Sequence[Range]) -> Iterator[bytes]:
        """Parts of a pack, each (offset, length), in their order, unverified. Raises the same."""
        return self.backend.get_ranges(layout.pack_key(pack), spans)

    def examine_pack(self, name: bytes) -> tuple[PackExamination, bytes]:
        """Read a whole pack and say what is wrong with it; also its bytes. Raises ObjectMissing."""
        key = layout.pack_key(name)
        size = self.backend.info(key).size
        if size > MAX_PACK_BYTES:
            raise ObjectDamaged(f"{key} has {size} bytes: it is no pack", object=key)
        data = self.backend.get(key)
        return examine(name, data), data

    def packs(self) -> Iterator[StoredPack]:
        """All packs of the backend."""
        return layout.stored_packs(self.backend.list(layout.PACKS))

    def delete_pack(self, name: bytes) -> None:
        """Remove a pack; harmless when it is gone."""
        self.backend.delete(layout.pack_key(name))

    # leaves and roots

    def write_leaf(self, ids: Buffer) -> bytes:
        """Store a leaf of LEAF_BYTES durably and return its hash; a leaf of zeros is not stored.

        The caller notes its `registration` first. Raises StoreFull, StoreUnavailable.
        """
        name = leaf_hash(ids)
        if name != ZERO_LEAF:
            self._write_node(NodeKind.LEAF, name, ids, reserved=False)
        return name

    def read_leaf(self, name: bytes) -> bytes:
        """The LEAF_BYTES of a leaf, verified. Raises ObjectMissing, ObjectDamaged."""
        if name == ZERO_LEAF:
            return ZERO_IDS
        return self._read_node(NodeKind.LEAF, name, LEAF_BYTES)

    def write_root(self, root: RootNode) -> bytes:
        """Store a root node durably and return its hash. Raises StoreFull, StoreUnavailable."""
        self._write_node(NodeKind.ROOT, root.hash, root.encode(), reserved=True)
        return root.hash

    def read_root(self, name: bytes) -> RootNode:
        """A root node, verified. Raises ObjectMissing, ObjectDamaged."""
        return RootNode.decode(self._read_node(NodeKind.ROOT, name, MAX_ROOT_PAYLOAD))

    def nodes(self, kind: NodeKind) -> Iterator[StoredNode]:
        """All writings of nodes of a kind on the backend."""
        found = (StoredNode.parse(info) for info in self.backend.list(kind.prefix))
        return (node for node in found if node is not None)

    def writings(self, kind: NodeKind, name: bytes) -> list[ObjectInfo]:
        """The writings of one node, the newest first."""
        found = self.backend.list(layout.node_prefix(kind, name))
        return sorted(found, key=lambda info: info.modified, reverse=True)

    def delete_node(self, node: StoredNode) -> None:
        """Remove one writing of a node; harmless when it is gone."""
        self.backend.delete(node.info.name)

    def _write_node(self, kind: NodeKind, name: bytes, data: Buffer, *, reserved: bool) -> None:
        """Write a node unless this process did so not long ago: that writing cannot be old yet.

        A node that could not be read since is written in any case, which heals it.
        """
        now = self.clock.now()
        with self._guard:
            before = self._written.get((kind, name))
        if before is not None and now - before < self.grace * _YOUNG:
            return
        self.backend.put(layout.new_node_key(kind, name), [data], reserved=reserved)
        with self._guard:
            if len(self._written) >= _MOST_REMEMBERED:
                self._written.clear()
            self._written[kind, name] = now

    def _read_node(self, kind: NodeKind, name: bytes, most: int) -> bytes:
        bad = ""
        for info in self.writings(kind, name):
            try:
                data = self.backend.get(info.name, 0, min(info.size, most))
            except ObjectMissing:
                continue
            except ObjectDamaged:
                bad = info.name
                continue
            if _node_hash(kind, data) == name:
                return data
            bad = info.name
        with self._guard:
            self._written.pop((kind, name), None)
        if bad:
            raise ObjectDamaged(f"{bad} cannot be read, or does not hash to its name", object=bad)
        raise ObjectMissing(f"the {kind} {name.hex()} is not in the store", object=name.hex())

    # checkpoint files

    def write_checkpoint(self, file: CheckpointFile) -> None:
        """Store a checkpoint file durably, before the transaction. Raises StoreFull, StoreUnavailable."""
        self.backend.put(file.name.key, [file.encode()], reserved=True)

    def confirm_checkpoint(self, file: CheckpointFile) -> None:
        """Store the commit marker durably, after the transaction. Raises StoreFull, StoreUnavailable."""
        self.backend.put(file.name.marker, [file.checksum.encode()], reserved=True)

    def unconfirm_checkpoint(self, name: CheckpointName) -> None:
        """Take the commit marker away, durably: the first step of dropping a checkpoint."""
        self.backend.delete(name.marker, durable=True)

    def read_checkpoint(self, name: CheckpointName) -> CheckpointFile:
        """A checkpoint file, verified. Raises ObjectMissing, ObjectDamaged."""
        if self.backend.info(name.key).size > checkpointfile.MAX_BYTES:
            raise ObjectDamaged(f"{name.key} is too large for a checkpoint file", object=name.key)
        return CheckpointFile.decode(self.backend.get(name.key), name)

    def is_confirmed(self, file: CheckpointFile) -> bool:
        """Whether the commit marker stands. Raises ObjectDamaged when it is another file's."""
        try:
            marker = self.backend.get(file.name.marker)
        except ObjectMissing:
            return False
        if marker != file.checksum.encode():
            raise ObjectDamaged(
                f"{file.name.marker} does not hold its file's checksum", object=file.name.marker
            )
        return True

    def has_marker(self, name: CheckpointName) -> bool:
        """Whether a commit marker of this name exists, whatever it holds."""
        try:
            self.backend.info(name.marker)
        except ObjectMissing:
            return False
        return True

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All checkpoint files and markers, by server and number."""
        found: dict[CheckpointName, dict[str, datetime]] = {}
        for info in self.backend.list(checkpointfile.PREFIX):
            name = CheckpointName.parse(info.name)
            if name is not None:
                found.setdefault(name, {})[info.name] = info.modified
        listed = [
            StoredCheckpoint(name, name.key in keys, name.marker in keys, max(keys.values()))
            for name, keys in found.items()
        ]
        return sorted(listed, key=lambda item: (item.name.server, item.name.number, item.name.id))

    def delete_checkpoint(self, name: CheckpointName) -> None:
        """Remove the commit marker, durably, then the file; harmless when they are gone."""
        self.backend.delete(name.marker, durable=True)
        self.backend.delete(name.key)


def _node_hash(kind: NodeKind, data: bytes) -> bytes | None:
    """The hash of a node's bytes; None for bytes that are no such node."""
    try:
        return leaf_hash(data) if kind is NodeKind.LEAF else RootNode.decode(data).hash
    except TreeError:
        return None
