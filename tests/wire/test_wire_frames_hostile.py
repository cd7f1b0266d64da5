"""Frames from somebody who does not mean well: refused by name, and never with memory for what is claimed."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.chunks import BLOCK, KIB, MAX_CHUNK_SIZE, MIB
from app.wire.codec import Codec
from app.wire.errors import FrameError, PatchError, WireError
from app.wire.frames import (
    MAX_PAYLOAD,
    MAX_RECORDS,
    MAX_ROOT_PAYLOAD,
    ChunkRecord,
    Frame,
    FrameReader,
    FrameType,
    LeafPatchRecord,
    PatchRecord,
    chunk_records,
    encode_chunks,
    encode_end,
    encode_leaf_patches,
    encode_patches,
    leaf_patch_records,
    leaves_of,
    patch_records,
    proof_records,
)
from app.wire.patch import Extent
from app.wire.tree import LEAF_BYTES, LEAF_IDS, LeafChanges
from tests.wire.frame_strategies import SENT, Sent, encoded, received

END = b"".join(encode_end())
RECORD = b"".join(encode_chunks([ChunkRecord(b"i" * 32, Codec.NONE, 9, b"something")]))


def header(
    kind: int, count: int, length: int, *, magic: bytes = b"g2", version: int = 1, reserved: int = 0
) -> bytes:
    """The 16 bytes that a frame begins with."""
    return struct.pack("!2sBBIII", magic, version, kind, count, length, reserved)


def read(stream: bytes) -> None:
    """Read a whole stream and its records."""
    reader = FrameReader()
    for frame in reader.feed(stream):
        received(frame)
    reader.finish()


@pytest.mark.parametrize(
    ("stream", "says"),
    [
        (header(1, 1, 1, magic=b"G2"), "not a frame"),
        (b"GET / HTTP/1.1\r\n\r\n", "not a frame"),
        (header(1, 1, 1, reserved=1), "not a frame"),
        (header(1, 1, 1, version=0), "version 0 is unknown"),
        (header(1, 1, 1, version=2), "version 2 is unknown"),
        (header(0, 1, 1), "type 0 is unknown"),
        (header(9, 1, 1), "type 9 is unknown"),
        (header(255, 1, 1), "type 255 is unknown"),
        (header(1, 1, MAX_PAYLOAD + 1), "too large"),
        (header(1, 1, 0xFFFFFFFF), "too large"),
        (header(5, 1, MAX_ROOT_PAYLOAD + 1), "too large"),
        (header(1, MAX_RECORDS + 1, MAX_PAYLOAD), "too large"),
        (header(6, 0, 1), "too large"),
        (header(6, 1, 0), "cannot have 1 records"),
        (header(5, 2, 99), "cannot have 2 records"),
        (header(1, 0, 5), "cannot have 0 records"),
        (header(3, 1, 0), "cannot have 1 records"),
        (header(7, 1, MAX_PAYLOAD + 1), "too large"),
    ],
)
def test_a_bad_header_is_refused_as_soon_as_it_is_there(stream: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        list(FrameReader().feed(stream[:16]))


@pytest.mark.parametrize("behind", [b"\0", END, RECORD])
def test_bytes_after_the_end_are_refused(behind: bytes) -> None:
    with pytest.raises(FrameError, match="follow"):
        read(RECORD + END + behind)
    reader = FrameReader()
    list(reader.feed(END))
    with pytest.raises(FrameError, match="follow"):
        list(reader.feed(behind))


@given(st.lists(SENT, max_size=3), st.integers(0, 1 << 20))
def test_a_stream_that_is_cut_off_anywhere_is_noticed(sent: list[Sent], kept: int) -> None:
    stream = b"".join(map(encoded, sent)) + END
    with pytest.raises(FrameError, match="cut off"):
        read(stream[: kept % len(stream)])


@given(SENT, st.data())
def test_a_flipped_bit_is_refused_by_name_or_changes_content_that_a_hash_names(
    sent: Sent, data: st.DataObject
) -> None:
    stream = bytearray(encoded(sent) + END)
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        read(bytes(stream))
    except WireError:
        return


@given(st.sampled_from(FrameType), st.integers(0, 50), st.binary(max_size=600))
def test_a_payload_of_garbage_is_refused_by_name(kind: FrameType, count: int, payload: bytes) -> None:
    for records in (chunk_records, patch_records, proof_records, leaves_of, leaf_patch_records):
        try:
            found = records(Frame(kind, count, payload))
        except WireError:
            continue
        assert len(found) == count


@pytest.mark.parametrize("count", [1, 3])
def test_a_count_that_is_not_that_of_the_records_is_refused(count: int) -> None:
    two = b"".join(encode_chunks([ChunkRecord(b"i" * 32, Codec.NONE, 9, b"something")] * 2))[16:]
    with pytest.raises(FrameError, match="payload"):
        chunk_records(Frame(FrameType.CHUNKS, count, two))
    with pytest.raises(FrameError, match="payload"):
        proof_records(Frame(FrameType.PROOFS, count, bytes(2 * 64)))
    with pytest.raises(FrameError, match="payload"):
        leaves_of(Frame(FrameType.LEAVES, count, bytes(2 * LEAF_BYTES)))


def chunk_payload(codec: int, raw: int, stored: int, data: bytes) -> bytes:
    """One record of a CHUNKS frame."""
    return struct.pack("!32sB3xII", b"i" * 32, codec, raw, stored) + data


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (chunk_payload(0, 0, 0, b""), "limits"),
        (chunk_payload(0, MAX_CHUNK_SIZE + 1, 4, b"data"), "limits"),
        (chunk_payload(0, 0xFFFFFFFF, 4, b"data"), "limits"),
        (chunk_payload(1, 3, 4, b"data"), "limits"),
        (chunk_payload(2, 9, 4, b"data"), "codec 2"),
        (chunk_payload(9, 9, 4, b"data"), "codec 9"),
        (chunk_payload(0, MAX_CHUNK_SIZE, MAX_CHUNK_SIZE, b"data"), "longer than its payload"),
    ],
)
def test_a_chunk_outside_of_the_limits_is_refused(payload: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        chunk_records(Frame(FrameType.CHUNKS, 1, payload))


def patch_payload(extents: tuple[Extent, ...], raw: int, length: int) -> Frame:
    """A PATCHES frame of one record."""
    record = PatchRecord(b"n" * 32, b"b" * 32, raw, extents, Codec.NONE, length, b"data")
    return Frame(FrameType.PATCHES, 1, b"".join(encode_patches([record]))[16:])


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (patch_payload(((0, 1),), 2 * BLOCK, BLOCK - 1), FrameError),
        (patch_payload(((0, 1),), 2 * BLOCK, 0xFFFFFFFF), FrameError),
        (patch_payload(((2, 1),), 2 * BLOCK, BLOCK), PatchError),
        (patch_payload(((0, 0),), 2 * BLOCK, 0), PatchError),
        (patch_payload((), MAX_CHUNK_SIZE + 1, 0), FrameError),
    ],
    ids=["length", "length-lie", "outside", "empty", "chunk-size"],
)
def test_a_patch_that_lies_is_refused(frame: Frame, error: type[WireError]) -> None:
    with pytest.raises(error):
        patch_records(frame)


def leaf_patch_payload(changes: LeafChanges, count: int | None = None) -> Frame:
    """A LEAF_PATCHES frame of one record that claims `count` changes."""
    record = struct.pack("!32s32sH", b"b" * 32, b"n" * 32, len(changes) if count is None else count)
    payload = record + b"".join(struct.pack("!H32s", *change) for change in changes)
    return Frame(FrameType.LEAF_PATCHES, 1, payload)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (leaf_patch_payload(()), "changes nothing"),
        (leaf_patch_payload(((LEAF_IDS, b"i" * 32),)), "outside of the leaf"),
        (leaf_patch_payload(((3, b"i" * 32), (3, b"j" * 32))), "out of order"),
        (leaf_patch_payload(((4, b"i" * 32), (3, b"j" * 32))), "out of order"),
        (leaf_patch_payload(((4, b"i" * 32),), 2), "longer than its payload"),
        (leaf_patch_payload(((4, b"i" * 32),), 0xFFFF), "longer than its payload"),
        (leaf_patch_payload(((4, b"i" * 32), (5, b"j" * 32)), 1), "longer than its records"),
        (
            leaf_patch_payload(tuple((at % LEAF_IDS, b"i" * 32) for at in range(LEAF_IDS + 1))),
            "out of order",
        ),
    ],
    ids=["empty", "outside", "twice", "descending", "cut-off", "count-lie", "rest", "more-than-a-leaf"],
)
def test_a_leaf_patch_that_lies_is_refused(frame: Frame, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        leaf_patch_records(frame)


def test_a_leaf_patch_that_would_be_refused_is_not_sent() -> None:
    for changes in ((), ((LEAF_IDS, b"i" * 32),), ((2, b"i" * 32), (1, b"j" * 32))):
        with pytest.raises(FrameError):
            encode_leaf_patches([LeafPatchRecord(b"b" * 32, b"n" * 32, changes)])


def test_an_extent_table_that_claims_more_than_the_frame_is_refused() -> None:
    payload = bytes(patch_payload((), BLOCK, 0).payload)
    with pytest.raises(PatchError, match="cut off"):
        patch_records(Frame(FrameType.PATCHES, 1, payload[:80] + b"\xff\xff" + payload[82:]))


def test_a_header_takes_memory_for_its_frame_and_no_more() -> None:
    tracemalloc.start()
    try:
        readers = [FrameReader() for _ in range(4)]
        for reader in readers:
            list(reader.feed(header(1, 4096, MAX_PAYLOAD)))
        with pytest.raises(FrameError):
            list(FrameReader().feed(header(1, 1, 0xFFFFFFFF)))
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_PAYLOAD + MIB
    finally:
        tracemalloc.stop()


def test_the_records_of_one_frame_take_little_memory() -> None:
    payload = chunk_payload(0, MAX_CHUNK_SIZE, 1, b"x") * MAX_RECORDS
    tracemalloc.start()
    try:
        assert len(chunk_records(Frame(FrameType.CHUNKS, MAX_RECORDS, payload))) == MAX_RECORDS
        assert tracemalloc.get_traced_memory()[1] < MAX_RECORDS * KIB
    finally:
        tracemalloc.stop()
