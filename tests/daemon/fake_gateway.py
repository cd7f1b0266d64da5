"""A gateway in one process and in memory that speaks the real wire over real HTTP, with faults on demand.

It checks what it is sent as strictly as a service must: hashes of chunks, patches against their base,
proofs, roots, and that every leaf of a commit and every chunk of such a leaf is there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.wire.buffers import Buffer
from app.wire.chunks import CHUNK_SIZE, ZERO_ID, chunk_id, chunk_length, name_of, possession_proof
from app.wire.codec import decode as decompress
from app.wire.frames import (
    MAX_PAYLOAD,
    Frame,
    FrameType,
    chunk_records,
    leaf_patch_records,
    leaves_of,
    patch_records,
    proof_records,
)
from app.wire.messages import (
    HAVE_KNOWN,
    HAVE_PROVE,
    HAVE_SEND,
    Commit,
    Committed,
    Disk,
    DiskBase,
    DiskRoot,
    Enroll,
    Enrolled,
    Limits,
    Open,
    Opened,
    Poll,
    Polled,
    PutResult,
    Refused,
)
from app.wire.patch import Patch, apply_patch, blocks_digest, signatures
from app.wire.tree import LEAF_BYTES, ZERO_LEAF, RootNode, changed_leaf, leaf_hash, leaf_ids

TOKEN = "g2i_secret"
REVERSE_TOKEN = "g2r_secret"
CREDENTIAL = "g2a_credential"
PROOF_KEY = bytes(range(32))


class Problem(Exception):
    """A refusal as the service would word it."""

    def __init__(self, status: int, code: str, detail: str, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.document = {"type": f"urn:go2cloud:problem:{code}", "status": status, "code": code, **extra}
        self.document["detail"] = detail


@dataclass
class Replica:
    """What the service holds of one disk."""

    id: str
    disk: Disk
    root: RootNode | None = None


@dataclass
class Faults:
    """What goes wrong, and how often: each is counted down."""

    cut_puts: int = 0
    refuse_puts: int = 0
    unanswered_commits: int = 0
    fenced_commits: int = 0
    missing_commits: int = 0
    refuse_patches: int = 0
    refuse_blocks: int = 0
    keep_names_back: int = 0
    refuse_proofs: int = 0
    refuse_leaf_patches: int = 0
    busy_answers: int = 0
    busy_puts: int = 0
    retry_after: int = 0
    duplicate: bool = False
    store_full: bool = False
    long_answer: bool = False

    def take(self, name: str) -> bool:
        """Whether this fault strikes now."""
        left: int = getattr(self, name)
        if left:
            setattr(self, name, left - 1)
        return left > 0


@dataclass
class FakeGateway:
    """State of the service; `serve` runs it."""

    chunks: dict[bytes, bytes] = field(default_factory=dict)
    leaves: dict[bytes, bytes] = field(default_factory=dict)
    replicas: dict[str, Replica] = field(default_factory=dict)
    unproven: set[bytes] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults)
    resend: tuple[str, ...] = ()
    head_time: str = ""
    polled: Polled = field(default_factory=lambda: Polled("none", 5, 3600))
    commits: list[Commit] = field(default_factory=list)
    polls: list[Poll] = field(default_factory=list)
    enrolments: list[Enroll] = field(default_factory=list)
    releases: int = 0
    put_times: list[float] = field(default_factory=list)
    """When puts began, in seconds of the monotonic clock."""
    puts: int = 0
    results: int = 0
    received: int = 0
    patches: int = 0
    blocks: int = 0
    most_blocks: int = 0
    """Of one put."""
    proofs: int = 0
    whole_leaves: int = 0
    leaf_patches: int = 0
    leaf_requests: int = 0
    generation: int = 0
    url: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)
    hook: Callable[[str], None] = lambda _: None

    @property
    def head(self) -> str:
        """The head checkpoint."""
        return f"chk-{len(self.commits)}" if self.commits else ""

    def content(self, key: str) -> bytes:
        """The replica's bytes."""
        root = self.replicas[key].root
        assert root is not None
        parts = []
        for index in range(root.count):
            name = root.leaf(index)
            ids = bytes(LEAF_BYTES) if name == ZERO_LEAF else self.leaves[name]
            for number, chunk in enumerate(leaf_ids(ids), index * 1024):
                length = chunk_length(number, root.size, root.chunk_size)
                if length > 0:
                    parts.append(bytes(length) if chunk == ZERO_ID else self.chunks[chunk])
        return b"".join(parts)

    def enroll(self, message: Enroll) -> Enrolled:
        """Redeem the token."""
        if message.token not in (TOKEN, REVERSE_TOKEN):
            raise Problem(401, "TOKEN_INVALID", "the install token is unknown", remedy="make a new one")
        self.enrolments.append(message)
        return Enrolled("srv-1", message.inventory.hostname, CREDENTIAL)

    def poll(self, message: Poll) -> Polled:
        """Take a heartbeat."""
        self.polls.append(message)
        if self.faults.duplicate:
            raise Problem(409, "DUPLICATE_AGENT", "another instance of srv-1 is alive", remedy="stop it")
        return self.polled

    def open(self, message: Open) -> Opened:
        """Open a session."""
        self.generation += 1
        for disk in message.disks:
            self.replicas.setdefault(disk.key, Replica(f"dsk-{len(self.replicas)}", disk))
        return Opened(
            session_id=f"ses-{self.generation}",
            generation=self.generation,
            head=self.head,
            disks=tuple(self._base(self.replicas[disk.key], disk.key) for disk in message.disks),
            proof_key=PROOF_KEY.hex(),
            limits=Limits(have_ids=4096, frame_bytes=MAX_PAYLOAD, put_bytes=1 << 30),
            resend=self.resend,
            head_time=self.head_time,
        )

    def _base(self, replica: Replica, key: str) -> DiskBase:
        root = replica.root
        if root is None:
            return DiskBase(replica.id, key, CHUNK_SIZE, "", 0)
        return DiskBase(replica.id, key, root.chunk_size, root.hash.hex(), root.size)

    def base_leaves(self, disk_id: str, start: int, count: int) -> bytes:
        """The ids of leaves of the base; zeros for a leaf that is lost."""
        (root,) = [replica.root for replica in self.replicas.values() if replica.id == disk_id]
        assert root is not None
        self.leaf_requests += 1
        names = [root.leaf(index) for index in range(start, start + count)]
        return b"".join(self.leaves.get(name, bytes(LEAF_BYTES)) for name in names)

    def have(self, ids: list[bytes]) -> bytes:
        """One byte an id."""
        return bytes(map(self._has, ids))

    def _has(self, name: bytes) -> int:
        if name.hex() in self.resend or name not in self.chunks:
            return HAVE_SEND
        return HAVE_PROVE if name in self.unproven else HAVE_KNOWN

    def signatures(self, ids: list[bytes]) -> bytes:
        """Length and signatures of each chunk."""
        found = [signatures(self.chunks[name]) if name in self.chunks else b"" for name in ids]
        return b"".join(len(item).to_bytes(4, "big") + item for item in found)

    def commit(self, message: Commit) -> Committed:
        """Make a checkpoint; the same one twice is one."""
        if self.faults.take("fenced_commits"):
            raise Problem(409, "FENCED", "a newer session exists")
        if self.faults.take("missing_commits"):
            (name,) = list(self.chunks)[:1]
            raise Problem(409, "MISSING_CHUNKS", "a chunk is gone", ids=[name.hex()])
        if self.commits and self.commits[-1] == message:
            return self._committed()
        if message.generation != self.generation or message.base != self.head:
            raise Problem(409, "FENCED", "a newer session exists")
        by_id = {replica.id: replica for replica in self.replicas.values()}
        for disk in message.disks:
            replica = by_id[disk.disk_id]
            base = replica.root or RootNode.empty(disk.size, CHUNK_SIZE)
            changed = {change.index: bytes.fromhex(change.leaf) for change in disk.changed}
            root = base.with_leaves(disk.size, changed)
            if root.hash.hex() != disk.root:
                raise Problem(422, "ROOT_MISMATCH", "the roots differ")
            self._require_all(root)
            replica.root = root
        self.commits.append(message)
        return self._committed()

    def _require_all(self, root: RootNode) -> None:
        for index in range(root.count):
            name = root.leaf(index)
            if name == ZERO_LEAF:
                continue
            if name not in self.leaves:
                raise Problem(409, "MISSING_LEAVES", f"leaf {index} was not put")
            missing = [i.hex() for i in leaf_ids(self.leaves[name]) if i != ZERO_ID and i not in self.chunks]
            if missing:
                raise Problem(409, "MISSING_CHUNKS", "chunks are missing", ids=missing)

    def _committed(self) -> Committed:
        roots = [(r.id, r.root.hash.hex()) for r in self.replicas.values() if r.root]
        return Committed(self.head, len(self.commits), tuple(DiskRoot(*pair) for pair in roots))


class Ingest:
    """One put."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway
        self._stored = 0
        self._leaves = 0
        self._nameless = 0
        self._bytes = 0
        self._refused: list[Refused] = []
        self._named: dict[bytes, bytes] = {}

    def accept(self, frame: Frame) -> None:
        """Take a frame in."""
        with self._gateway.lock:
            if frame.type is FrameType.CHUNKS:
                for chunk in chunk_records(frame):
                    self._store(chunk.id, bytes(decompress(chunk.codec, chunk.data, chunk.raw_length)))
            elif frame.type is FrameType.PATCHES:
                self._patches(frame)
            elif frame.type is FrameType.BLOCKS:
                self._blocks(frame)
            elif frame.type is FrameType.PROOFS:
                self._proofs(frame)
            elif frame.type is FrameType.LEAVES:
                for leaf in leaves_of(frame):
                    self._gateway.whole_leaves += 1
                    self._keep_leaf(bytes(leaf))
            elif frame.type is FrameType.LEAF_PATCHES:
                self._leaf_patches(frame)

    def _keep_leaf(self, leaf: bytes) -> None:
        self._gateway.leaves[leaf_hash(leaf)] = leaf
        self._leaves += 1

    def _leaf_patches(self, frame: Frame) -> None:
        for record in leaf_patch_records(frame):
            self._gateway.leaf_patches += 1
            if self._gateway.faults.take("refuse_leaf_patches"):
                self._refused.append(Refused(record.leaf.hex(), "LEAF_BASE_MISSING"))
                continue
            leaf = changed_leaf(self._gateway.leaves[record.base], record.changes)
            assert leaf_hash(leaf) == record.leaf, "a leaf patch does not give its leaf"
            self._keep_leaf(leaf)

    def _store(self, name: bytes, data: bytes) -> None:
        assert chunk_id(data) == name, "a chunk does not have its hash"
        self._gateway.chunks[name] = data
        self._gateway.unproven.discard(name)
        self._stored += 1
        self._bytes += len(data)

    def _patches(self, frame: Frame) -> None:
        for record in patch_records(frame):
            self._gateway.patches += 1
            if self._gateway.faults.take("refuse_patches"):
                self._refused.append(Refused(record.id.hex(), "PATCH_MISMATCH"))
                continue
            data: Buffer = decompress(record.codec, record.data, record.patch_length)
            patch = Patch(record.extents, data)
            self._store(record.id, apply_patch(self._gateway.chunks[record.base], patch, record.raw_length))

    def _blocks(self, frame: Frame) -> None:
        self._nameless += frame.count
        self._gateway.most_blocks = max(self._gateway.most_blocks, self._nameless)
        for record in patch_records(frame):
            self._gateway.blocks += 1
            if self._gateway.faults.take("refuse_blocks"):
                self._refused.append(Refused(record.id.hex(), "BLOCKS_REFUSED"))
                continue
            patch = Patch(record.extents, decompress(record.codec, record.data, record.patch_length))
            assert blocks_digest(record.base, record.raw_length, patch) == record.id, "a false digest"
            data = apply_patch(self._gateway.chunks[record.base], patch, record.raw_length)
            if name_of(data) != ZERO_ID:
                self._store(chunk_id(data), data)
            if not self._gateway.faults.take("keep_names_back"):
                self._named[record.id] = name_of(data)

    def _proofs(self, frame: Frame) -> None:
        for record in proof_records(frame):
            self._gateway.proofs += 1
            good = possession_proof(self._gateway.chunks[record.id], PROOF_KEY) == record.proof
            if self._gateway.faults.take("refuse_proofs") or not good:
                self._refused.append(Refused(record.id.hex(), "PROOF_REFUSED"))
            else:
                self._gateway.unproven.discard(record.id)

    def result(self) -> PutResult:
        """What became of it."""
        refused, named = tuple(self._refused), PutResult.joined(self._named)
        return PutResult(self._stored, 0, self._leaves, self._bytes, refused, named)
