"""Codec: what was packed comes back, and nothing hostile is unpacked further than its record says."""

import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from app.wire.chunks import CHUNK_SIZE, MIB
from app.wire.codec import Codec, decode, encode
from app.wire.errors import CodecError

RANDOM = random.Random(3)
TEXT = (b"the quick brown fox " * 20_000)[:CHUNK_SIZE]
NOISE = RANDOM.randbytes(CHUNK_SIZE)


def zstd(data: bytes, *, states_size: bool = True) -> bytes:
    """A zstd frame of the data."""
    return zstandard.ZstdCompressor(level=3, write_content_size=states_size).compress(data)


def lying(packed: bytes, claimed: int) -> bytes:
    """The frame with another content size in its header (of four bytes, as for 64 KiB and more)."""
    assert packed[4] >> 6 == 2, "the content size has four bytes"
    at = 5 if packed[4] & 0x20 else 6
    return packed[:at] + claimed.to_bytes(4, "little") + packed[at + 4 :]


@given(
    st.binary(min_size=1, max_size=20_000)
    | st.builds(lambda b, n: b * n, st.binary(min_size=1), st.integers(1, 400))
)
def test_what_was_encoded_is_decoded(data: bytes) -> None:
    codec, packed = encode(data)
    assert bytes(decode(codec, packed, len(data))) == data
    assert memoryview(packed).nbytes <= len(data)


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
def test_any_buffer_is_taken(form: type[bytes] | type[bytearray] | type[memoryview]) -> None:
    for data in (TEXT, NOISE):
        codec, packed = encode(form(data))
        assert bytes(decode(codec, form(packed), CHUNK_SIZE)) == data


def test_what_does_not_shrink_goes_as_it_is_and_is_not_copied() -> None:
    codec, packed = encode(NOISE)
    assert codec is Codec.NONE
    assert packed is NOISE
    assert decode(codec, packed, CHUNK_SIZE) is NOISE


def test_what_shrinks_is_compressed() -> None:
    codec, packed = encode(TEXT)
    assert codec is Codec.ZSTD
    assert memoryview(packed).nbytes < CHUNK_SIZE // 10


@pytest.mark.parametrize("claimed", [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE + 1, 1 << 32])
@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
def test_a_record_of_another_length_than_declared_is_refused(codec: Codec, claimed: int) -> None:
    packed = TEXT if codec is Codec.NONE else zstd(TEXT)
    with pytest.raises(CodecError):
        decode(codec, packed, claimed)


def test_a_bomb_is_refused_before_memory_is_taken() -> None:
    bomb = zstd(bytes(256 * MIB))
    assert len(bomb) < 64 * 1024
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match=f"declares {256 * MIB} bytes"):
            decode(Codec.ZSTD, bomb, CHUNK_SIZE)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_bomb_that_lies_about_its_size_unpacks_no_further_than_that() -> None:
    bomb = lying(zstd(bytes(256 * MIB)), CHUNK_SIZE)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="damaged"):
            decode(Codec.ZSTD, bomb, CHUNK_SIZE)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_a_frame_that_claims_more_than_it_holds_is_refused() -> None:
    with pytest.raises(CodecError):
        decode(Codec.ZSTD, lying(zstd(TEXT), 2 * CHUNK_SIZE), 2 * CHUNK_SIZE)


def test_a_frame_that_keeps_its_size_to_itself_is_refused() -> None:
    with pytest.raises(CodecError):
        decode(Codec.ZSTD, zstd(TEXT, states_size=False), CHUNK_SIZE)


def test_a_skippable_frame_is_no_content() -> None:
    with pytest.raises(CodecError):
        decode(Codec.ZSTD, b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd", 4)


def test_bytes_behind_the_frame_are_refused() -> None:
    with pytest.raises(CodecError):
        decode(Codec.ZSTD, zstd(TEXT) + b"x", CHUNK_SIZE)


@given(st.integers(0, 1 << 16))
def test_a_frame_that_is_cut_off_is_refused(kept: int) -> None:
    packed = zstd(TEXT)
    with pytest.raises(CodecError):
        decode(Codec.ZSTD, packed[: kept % len(packed)], CHUNK_SIZE)


@given(st.binary(max_size=200), st.integers(0, 1 << 22))
def test_garbage_is_refused_by_name(data: bytes, length: int) -> None:
    try:
        plain = decode(Codec.ZSTD, data, length)
    except CodecError:
        return
    assert memoryview(plain).nbytes == length


@pytest.mark.parametrize("codec", [Codec.DELTA, 3, 255, -1])
def test_a_codec_that_is_not_of_the_wire_is_refused(codec: int) -> None:
    with pytest.raises(CodecError, match="unknown"):
        decode(codec, b"x", 1)


def test_threads_do_not_share_a_context() -> None:
    source = random.Random(7)
    chunks = [source.randbytes(1000) * 50 for _ in range(64)]

    def there_and_back(data: bytes) -> bytes:
        codec, packed = encode(data)
        return bytes(decode(codec, packed, len(data)))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(there_and_back, chunks)) == chunks
