"""From the model's words to the wire's and back: contents, frames, messages, and the ids of both worlds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from random import Random
from typing import Final

from app.wire.chunks import BLOCK, CHUNK_SIZE, ID_BYTES, ZERO_ID, chunk_id, possession_proof
from app.wire.codec import decode, encode
from app.wire.frames import (
    BlocksRecord,
    ChunkRecord,
    PatchRecord,
    ProofRecord,
    encode_blocks,
    encode_chunks,
    encode_leaves,
    encode_patches,
    encode_proofs,
)
from app.wire.messages import Commit, Counters, Disk, DiskCommit, LeafChange, Open, Opened
from app.wire.patch import Patch, blocks_digest, make_patch, signatures
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, leaf_hash
from tests.faults.protocol import words
from tests.faults.protocol.collecting import EPOCH
from tests.faults.protocol.words import Ids, Root

_REST: Final = Random(0).randbytes(CHUNK_SIZE - BLOCK)
"""All chunks differ in their first block only, so that every one is a small change of every other."""


@cache
def chunk(value: int) -> bytes:
    """The bytes of a value."""
    return Random(value).randbytes(BLOCK) + _REST if value else bytes(CHUNK_SIZE)


@cache
def name(value: int) -> bytes:
    """The chunk id of a value."""
    return chunk_id(chunk(value)) if value else ZERO_ID


@cache
def leaf(ids: Ids) -> bytes:
    """The bytes of a leaf: the model's few ids, then zeros."""
    return b"".join(name(value) for value in ids).ljust(LEAF_BYTES, b"\0")


@cache
def root(leaves: Root) -> RootNode:
    """A disk's tree."""
    return RootNode(disk_size(len(leaves)), CHUNK_SIZE, b"".join(leaf_hash(leaf(ids)) for ids in leaves))


def root_hex(leaves: Root | None) -> str:
    """The hash of a disk's tree; empty for none."""
    return root(leaves).hash.hex() if leaves is not None else ""


def seconds(number: int) -> timedelta:
    """A span of the model's time."""
    return timedelta(seconds=number)


def disk_size(leaves: int) -> int:
    """Bytes of a disk with so many leaves."""
    return leaves * LEAF_IDS * CHUNK_SIZE


def value_of(known: bytes) -> int:
    """The value behind a chunk id, or behind the digest of blocks that were sent."""
    return _values()[known]


@cache
def _values() -> dict[bytes, int]:
    return {name(value): value for value in range(32)}


def open_message(instance: str, shape: tuple[int, ...]) -> Open:
    """Open a session of disks with so many leaves each."""
    disks = tuple(Disk(f"disk-{at}", f"/dev/sd{at}", disk_size(n), 512) for at, n in enumerate(shape))
    return Open(instance, "tracker", disks)


def frame(message: words.Frame, proof_key: bytes) -> Sequence[bytes | bytearray | memoryview]:
    """A frame of a put."""
    match message:
        case words.Chunks(ids):
            return encode_chunks([_record(value) for value in ids])
        case words.Patches(records):
            return encode_patches([_patch(value, base) for value, base in records])
        case words.Blocks(records):
            return encode_blocks([_blocks(value, base) for value, base in records])
        case words.Proofs(ids, forged):
            return encode_proofs([_proof(value, proof_key, forged) for value in ids])
        case words.LeafFrame(leaves):
            return encode_leaves([leaf(ids) for ids in leaves])


def _record(value: int) -> ChunkRecord:
    codec, packed = encode(chunk(value))
    return ChunkRecord(name(value), codec, CHUNK_SIZE, packed)


def _patch(value: int, base: int) -> PatchRecord:
    patch = make_patch(chunk(value), signatures(chunk(base)))
    assert patch is not None
    codec, packed = encode(patch.data)
    length = memoryview(patch.data).nbytes
    return PatchRecord(name(value), name(base), CHUNK_SIZE, patch.extents, codec, length, packed)


def _blocks(value: int, base: int) -> BlocksRecord:
    named = _patch(value, base)
    patch = Patch(named.extents, decode(named.codec, named.data, named.patch_length))
    digest = blocks_digest(named.base, CHUNK_SIZE, patch)
    _values()[digest] = value
    return BlocksRecord(**{**vars(named), "id": digest})


def _proof(value: int, key: bytes, forged: bool) -> ProofRecord:
    return ProofRecord(name(value), possession_proof(b"a guess" if forged else chunk(value), key))


@dataclass
class Pairs:
    """Which id of the model is which of the services: sessions with what they opened, checkpoints."""

    sessions: dict[int, Opened] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=lambda: {0: ""})

    def pair(self, ours: int, theirs: str) -> bool:
        """Note that two checkpoint ids are one; False where that contradicts what is known."""
        return self.checkpoints.setdefault(ours, theirs) == theirs

    def session(self, number: int) -> str:
        """The id of a session of the services; one that never was for one that never was."""
        return self.sessions[number].session_id if number in self.sessions else "ses-unknown"

    def commit(self, message: words.Commit) -> Commit:
        """The commit as the services know it."""
        opened = self.sessions[message.session]
        time = (EPOCH + timedelta(seconds=message.source_time)).isoformat()
        disks = tuple(self._disk(opened, disk, message.label) for disk in message.disks)
        base = self.checkpoints.get(message.base, "chk-unknown")
        return Commit(message.generation, base, time, "tracker", "tracked", message.label, disks)

    def _disk(self, opened: Opened, disk: words.DiskCommit, label: str) -> DiskCommit:
        changed = tuple(LeafChange(at, leaf_hash(leaf(ids)).hex()) for at, ids in disk.changed)
        return DiskCommit(
            opened.disks[disk.disk].disk_id,
            root_hex(disk.base_root),
            root_hex(disk.root),
            disk_size(len(disk.root)),
            label,
            changed,
            (),
            (),
            Counters(),
        )


assert ID_BYTES * words.LEAF_WIDTH <= LEAF_BYTES
