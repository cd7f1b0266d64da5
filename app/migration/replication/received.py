"""Checking what an agent sent: every chunk hashes to its id before it is stored. Pure and blocking."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from app.kit.errors import Invalid
from app.store.layers import Layers
from app.store.outboard import hashed, outboard_bytes, patched, zeros_hash
from app.store.outboards import Outlined
from app.store.pack import MAX_DEPTH
from app.wire.buffers import Buffer
from app.wire.chunks import ZERO_ID, chunk_id, is_zero, possession_proof
from app.wire.codec import Codec, decode, encode
from app.wire.errors import WireError
from app.wire.frames import BlocksRecord, ChunkRecord, PatchRecord, ProofRecord
from app.wire.patch import Patch, blocks_digest, merged, patched_copy


@dataclass(frozen=True)
class Stored:
    """A checked chunk in the form in which a pack keeps it; `base` and `depth` are for a delta, `digest` is
    that of a BLOCKS record, `outboard` that of a whole chunk."""

    id: bytes
    codec: Codec
    raw_length: int
    data: Buffer
    base: bytes | None = None
    depth: int = 0
    digest: bytes | None = None
    outboard: bytes = b""


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
    return [_verified(record) for record in records]


def _verified(record: ChunkRecord) -> Stored:
    plain = decode(record.codec, record.data, record.raw_length)
    name, outboard = hashed(plain)
    if name != record.id or is_zero(plain):
        raise Invalid(
            f"chunk {record.id.hex()} does not hash to its id",
            code="HASH_MISMATCH",
            remedy="the bytes changed on their way or in memory: the agent reads and sends them again",
        )
    return Stored(name, record.codec, record.raw_length, record.data, outboard=outboard)


def rebuild(record: PatchRecord, base: Layers, plain: Buffer, *, may_stand: bool) -> Stored | Fault:
    """The patched chunk as a delta on its base, whose bytes need not have been verified, or whole where that
    is not much larger, the chain of deltas is at its end, or it may not stand on another chunk. The blocks of
    a BLOCKS record may give zeros.

    A delta of less than half of what the chain's whole chunk takes is taken without packing the new chunk:
    that costs as much as everything else here together.
    """
    try:
        patch = _patch(record)
        rebuilt = patched_copy(plain, patch, record.raw_length)
    except WireError:
        return _blame(record, plain)
    hashed_as, outboard = hashed(rebuilt)
    name = _name(record, patch, ZERO_ID if is_zero(rebuilt) else hashed_as)
    if isinstance(name, Fault):
        return _blame(record, plain)
    if isinstance(record, BlocksRecord) and chunk_id(plain) != record.base:
        return Fault.BASE
    may_stand = may_stand and base.depth < MAX_DEPTH
    if may_stand and _is_small(patch, base.bottom.stored_length):
        return _delta(record, patch, name, record.base, base.depth + 1)
    codec, whole = encode(rebuilt)
    if may_stand and _is_small(patch, memoryview(whole).nbytes):
        return _delta(record, patch, name, record.base, base.depth + 1)
    return Stored(name, codec, record.raw_length, whole, digest=_digest(record), outboard=outboard)


def rebuild_by_outboard(record: PatchRecord, base: Outlined, *, may_stand: bool) -> Stored | Fault | None:
    """The same by the base's outboard, which proves the base's id, in place of its bytes: always a delta, at
    the end of a chain one that has the whole chain in it. None where it is not clear that the chunk may be a
    delta: then `rebuild` has to do it."""
    if not may_stand or len(base.outboard) != outboard_bytes(record.raw_length):
        return None
    try:
        patch = _patch(record)
        hashed_as, _ = patched(base.outboard, patch)
    except WireError:
        return Fault.MISMATCH
    name = _name(record, patch, ZERO_ID if hashed_as == zeros_hash(record.raw_length) else hashed_as)
    if isinstance(name, Fault):
        return name
    layers = base.layers
    if layers.depth < MAX_DEPTH:
        stands_on, depth = record.base, layers.depth + 1
    else:
        patch, stands_on, depth = merged([*base.patches, patch]), layers.records[-1][0], 1
    is_small = _is_small(patch, layers.bottom.stored_length)
    return _delta(record, patch, name, stands_on, depth) if is_small and name != stands_on else None


def _patch(record: PatchRecord) -> Patch:
    """Raises WireError."""
    return Patch(record.extents, decode(record.codec, record.data, record.patch_length))


def _is_small(patch: Patch, stored_length: int) -> bool:
    """Whether the patch takes less than half of this."""
    return patch.encoded_length < stored_length // 2


def _delta(record: PatchRecord, patch: Patch, name: bytes, base: bytes, depth: int) -> Stored:
    return Stored(name, Codec.DELTA, record.raw_length, patch.encode(), base, depth, _digest(record))


def _digest(record: PatchRecord) -> bytes | None:
    return record.id if isinstance(record, BlocksRecord) else None


def _name(record: PatchRecord, patch: Patch, found: bytes) -> bytes | Fault:
    """The id of the chunk that the patch gives, if it is the one that the sender names; where it names none,
    if the patch is the one that was meant."""
    if isinstance(record, BlocksRecord):
        is_meant = blocks_digest(record.base, record.raw_length, patch) == record.id
    else:
        is_meant = found == record.id != ZERO_ID
    return found if is_meant else Fault.MISMATCH


def _blame(record: PatchRecord, plain: Buffer) -> Fault:
    return Fault.MISMATCH if chunk_id(plain) == record.base else Fault.BASE


def is_proved(record: ProofRecord, plain: bytes, proof_key: bytes) -> bool:
    """Whether the sender of the proof holds the chunk's bytes."""
    return hmac.compare_digest(record.proof, possession_proof(plain, proof_key))
