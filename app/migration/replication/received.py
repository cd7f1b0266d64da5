"""Checking what an agent sent: every chunk hashes to its id before it is stored. Pure and blocking."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from app.kit.errors import Invalid
from app.store.layers import Layers
from app.store.pack import MAX_DEPTH
from app.wire.buffers import Buffer
from app.wire.chunks import chunk_id, is_zero, name_of, possession_proof
from app.wire.codec import Codec, decode, encode
from app.wire.errors import WireError
from app.wire.frames import BlocksRecord, ChunkRecord, PatchRecord, ProofRecord
from app.wire.patch import Patch, blocks_digest, patched_copy


@dataclass(frozen=True)
class Stored:
    """A checked chunk in the form in which a pack keeps it; `base` and `depth` are for a delta, `digest` is
    that of a BLOCKS record."""

    id: bytes
    codec: Codec
    raw_length: int
    data: Buffer
    base: bytes | None = None
    depth: int = 0
    digest: bytes | None = None


class Fault(Enum):
    """Why a patched chunk is refused."""

    BASE = auto()
    """Its base is not the server's, or cannot be read as what it was."""
    MISMATCH = auto()
    """The patch does not give the chunk that it names, or is not what its digest says."""


def verify(records: Sequence[ChunkRecord]) -> list[Stored]:
    """The records, once each has been unpacked and hashed.

    Raises CodecError, and Invalid HASH_MISMATCH for a chunk that is not what its id says.
    """
    for record in records:
        plain = decode(record.codec, record.data, record.raw_length)
        if chunk_id(plain) != record.id or is_zero(plain):
            raise Invalid(
                f"chunk {record.id.hex()} does not hash to its id",
                code="HASH_MISMATCH",
                remedy="the bytes changed on their way or in memory: the agent reads and sends them again",
            )
    return [Stored(record.id, record.codec, record.raw_length, record.data) for record in records]


def rebuild(record: PatchRecord, base: Layers, plain: Buffer, *, may_stand: bool) -> Stored | Fault:
    """The patched chunk as a delta on its base, whose bytes need not have been verified, or whole where that
    is not much larger, the chain of deltas is at its end, or it may not stand on another chunk. The blocks of
    a BLOCKS record may give zeros.

    A delta of less than half of what the chain's whole chunk takes is taken without packing the new chunk:
    that costs as much as everything else here together.
    """
    try:
        patch = Patch(record.extents, decode(record.codec, record.data, record.patch_length))
        rebuilt = patched_copy(plain, patch, record.raw_length)
    except WireError:
        return _blame(record, plain)
    name = _name(record, plain, patch, rebuilt)
    if isinstance(name, Fault):
        return name
    digest = record.id if isinstance(record, BlocksRecord) else None
    delta, depth = patch.encode(), base.depth + 1
    may_stand = may_stand and depth <= MAX_DEPTH
    as_delta = Stored(name, Codec.DELTA, record.raw_length, delta, record.base, depth, digest)
    if may_stand and len(delta) < base.bottom.stored_length // 2:
        return as_delta
    codec, whole = encode(rebuilt)
    if may_stand and len(delta) < memoryview(whole).nbytes // 2:
        return as_delta
    return Stored(name, codec, record.raw_length, whole, digest=digest)


def _name(record: PatchRecord, plain: Buffer, patch: Patch, rebuilt: bytearray) -> bytes | Fault:
    """The id of the chunk that the patch gives: the one that the sender names; or where it names none its
    own, if base and patch are what they should be."""
    if not isinstance(record, BlocksRecord):
        is_good = chunk_id(rebuilt) == record.id and not is_zero(rebuilt)
        return record.id if is_good else _blame(record, plain)
    if blocks_digest(record.base, record.raw_length, patch) != record.id:
        return Fault.MISMATCH
    return name_of(rebuilt) if chunk_id(plain) == record.base else Fault.BASE


def _blame(record: PatchRecord, plain: Buffer) -> Fault:
    return Fault.MISMATCH if chunk_id(plain) == record.base else Fault.BASE


def is_proved(record: ProofRecord, plain: bytes, proof_key: bytes) -> bool:
    """Whether the sender of the proof holds the chunk's bytes."""
    return hmac.compare_digest(record.proof, possession_proof(plain, proof_key))
