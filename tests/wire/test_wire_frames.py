"""Frames: what is sent is received, wherever the network cuts the stream."""

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.chunks import MIB
from app.wire.codec import Codec
from app.wire.errors import FrameError
from app.wire.frames import (
    MAX_PAYLOAD,
    MAX_RECORDS,
    MAX_ROOT_PAYLOAD,
    PUT_TYPES,
    ChunkRecord,
    FrameReader,
    FrameType,
    ProofRecord,
    chunk_records,
    encode_chunks,
    encode_end,
    encode_leaves,
    encode_proofs,
    encode_root,
    leaves_of,
)
from app.wire.tree import LEAF_BYTES, MAX_LEAVES, RootNode
from tests.wire.frame_strategies import SENT, Sent, encoded, received

END = b"".join(encode_end())


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data cut at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[low:high] for low, high in pairwise(places)]


@given(st.lists(SENT, max_size=4), st.lists(st.integers(0, 1 << 20), max_size=30))
def test_any_split_of_the_stream_gives_the_same_frames(sent: list[Sent], cuts: list[int]) -> None:
    stream = b"".join(map(encoded, sent)) + END
    reader = FrameReader()
    frames = [frame for piece in pieces(stream, cuts) for frame in reader.feed(piece)]
    reader.finish()
    assert [received(frame) for frame in frames[:-1]] == sent
    assert frames[-1].type is FrameType.END


@given(SENT)
def test_a_stream_may_come_byte_by_byte(sent: Sent) -> None:
    reader = FrameReader()
    stream = encoded(sent)[:3000]
    for at in range(len(stream)):
        list(reader.feed(stream[at : at + 1]))
    whole = list(FrameReader().feed(encoded(sent)))
    assert received(whole[0]) == sent


def test_what_was_fed_may_change_afterwards() -> None:
    buffer = bytearray(b"".join(encode_chunks([ChunkRecord(b"i" * 32, Codec.NONE, 5, b"whole")])))
    (frame,) = FrameReader().feed(buffer)
    buffer[:] = bytes(len(buffer))
    assert bytes(chunk_records(frame)[0].data) == b"whole"


def test_records_are_views_of_their_frame() -> None:
    (frame,) = FrameReader().feed(b"".join(encode_chunks([ChunkRecord(b"i" * 32, Codec.NONE, 5, b"whole")])))
    data = chunk_records(frame)[0].data
    assert isinstance(data, memoryview)
    assert data.obj is frame.payload


def test_encoding_copies_no_data() -> None:
    data = bytearray(MIB)
    assert any(part is data for part in encode_chunks([ChunkRecord(b"i" * 32, Codec.NONE, MIB, data)]))


def test_the_largest_frames_pass() -> None:
    leaves = [bytes(LEAF_BYTES)] * (MAX_PAYLOAD // LEAF_BYTES)
    root = RootNode.empty(MAX_LEAVES * 1024 * 65536, 65536).encode()
    proofs = [ProofRecord(b"i" * 32, b"p" * 32)] * MAX_RECORDS
    reader = FrameReader()
    frames = []
    for part in (*encode_leaves(leaves), *encode_root(root), *encode_proofs(proofs)):
        frames += list(reader.feed(part))
    assert [frame.count for frame in frames] == [len(leaves), 1, MAX_RECORDS]
    assert len(root) == MAX_ROOT_PAYLOAD


@pytest.mark.parametrize("length", [0, 31, LEAF_BYTES - 1, LEAF_BYTES + 1])
def test_a_leaf_of_another_length_is_not_sent(length: int) -> None:
    with pytest.raises(FrameError):
        encode_leaves([bytes(length)])


def test_a_frame_beyond_the_limits_is_not_sent() -> None:
    record = ChunkRecord(b"i" * 32, Codec.NONE, 4 * MIB, bytes(4 * MIB))
    with pytest.raises(FrameError, match="too large"):
        encode_chunks([record, record])
    with pytest.raises(FrameError, match="too large"):
        encode_proofs([ProofRecord(b"i" * 32, b"p" * 32)] * (MAX_RECORDS + 1))


def test_a_put_has_every_type_but_the_root() -> None:
    reader = FrameReader(PUT_TYPES)
    with pytest.raises(FrameError, match="ROOT frame has no place"):
        list(reader.feed(b"".join(encode_root(b"x"))[:16]))
    assert {FrameType.ROOT} == set(FrameType) - PUT_TYPES


def test_a_long_stream_is_read_in_one_go() -> None:
    source = random.Random(2)
    records = [
        ChunkRecord(source.randbytes(32), Codec.NONE, 1000, source.randbytes(1000)) for _ in range(2000)
    ]
    stream = b"".join(encode_chunks(records)) * 4 + END
    frames = list(FrameReader().feed(stream))
    assert len(frames) == 5
    assert chunk_records(frames[3]) == records


def test_leaves_come_back_as_they_were() -> None:
    source = random.Random(5)
    leaves = [source.randbytes(LEAF_BYTES) for _ in range(3)]
    (frame,) = FrameReader().feed(b"".join(encode_leaves(leaves)))
    assert leaves_of(frame) == leaves
