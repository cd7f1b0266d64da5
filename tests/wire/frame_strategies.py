"""Frames of every type with random records, for the tests of both directions."""

from collections.abc import Sequence

from hypothesis import strategies as st

from app.wire.buffers import Buffer
from app.wire.chunks import BLOCK
from app.wire.codec import Codec
from app.wire.frames import (
    BlocksRecord,
    ChunkRecord,
    Frame,
    FrameType,
    LeafPatchRecord,
    PatchRecord,
    ProofRecord,
    chunk_records,
    encode_blocks,
    encode_chunks,
    encode_end,
    encode_leaf_patches,
    encode_leaves,
    encode_patches,
    encode_proofs,
    encode_root,
    leaf_patch_records,
    leaves_of,
    patch_records,
    proof_records,
)
from app.wire.tree import LEAF_BYTES, LEAF_IDS

IDS = st.binary(min_size=32, max_size=32)
CODECS = st.sampled_from([Codec.NONE, Codec.ZSTD])
Sent = tuple[FrameType, object]
"""A frame's type and its records."""


@st.composite
def chunks(draw: st.DrawFn) -> ChunkRecord:
    data = draw(st.binary(max_size=200))
    return ChunkRecord(draw(IDS), draw(CODECS), draw(st.integers(max(1, len(data)), 1 << 22)), data)


@st.composite
def patches(draw: st.DrawFn, kind: type[PatchRecord] = PatchRecord) -> PatchRecord:
    starts = sorted(draw(st.sets(st.integers(0, 60), max_size=5)))
    extents = tuple((start, 1) for start in starts)
    data = draw(st.binary(max_size=100))
    return kind(draw(IDS), draw(IDS), 61 * BLOCK, extents, draw(CODECS), len(starts) * BLOCK, data)


LEAVES = st.builds(
    lambda one, at: one.rjust(at, b"\0").ljust(LEAF_BYTES, b"\0"), IDS, st.integers(32, LEAF_BYTES)
)

LEAF_CHANGES = st.dictionaries(st.integers(0, LEAF_IDS - 1), IDS, min_size=1, max_size=20).map(
    lambda found: tuple(sorted(found.items()))
)

SENT: st.SearchStrategy[Sent] = st.one_of(
    st.tuples(st.just(FrameType.CHUNKS), st.lists(chunks(), max_size=5)),
    st.tuples(st.just(FrameType.PATCHES), st.lists(patches(), max_size=3)),
    st.tuples(st.just(FrameType.BLOCKS), st.lists(patches(BlocksRecord), max_size=3)),
    st.tuples(st.just(FrameType.LEAVES), st.lists(LEAVES, max_size=2)),
    st.tuples(st.just(FrameType.PROOFS), st.lists(st.builds(ProofRecord, IDS, IDS), max_size=5)),
    st.tuples(
        st.just(FrameType.LEAF_PATCHES),
        st.lists(st.builds(LeafPatchRecord, IDS, IDS, LEAF_CHANGES), max_size=3),
    ),
    st.tuples(st.just(FrameType.ROOT), st.binary(min_size=1, max_size=100)),
)


def encoded(sent: Sent) -> bytes:
    """A frame's bytes."""
    return b"".join(_parts(*sent))


def _parts(kind: FrameType, records: object) -> Sequence[Buffer]:
    if isinstance(records, bytes):
        return encode_root(records)
    assert isinstance(records, list)
    match kind:
        case FrameType.CHUNKS:
            return encode_chunks(records)
        case FrameType.PATCHES:
            return encode_patches(records)
        case FrameType.BLOCKS:
            return encode_blocks(records)
        case FrameType.LEAVES:
            return encode_leaves(records)
        case FrameType.PROOFS:
            return encode_proofs(records)
        case FrameType.LEAF_PATCHES:
            return encode_leaf_patches(records)
        case _:
            return encode_end()


def received(frame: Frame) -> Sent:
    """What a frame carries, as it was given to be sent."""
    match frame.type:
        case FrameType.CHUNKS:
            return frame.type, chunk_records(frame)
        case FrameType.PATCHES | FrameType.BLOCKS:
            return frame.type, patch_records(frame)
        case FrameType.LEAVES:
            return frame.type, leaves_of(frame)
        case FrameType.PROOFS:
            return frame.type, proof_records(frame)
        case FrameType.LEAF_PATCHES:
            return frame.type, leaf_patch_records(frame)
        case _:
            return frame.type, bytes(frame.payload)
