"""Chunks: names, zeros, proofs and the arithmetic of a disk's last, short one."""

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from app.wire.buffers import Buffer
from app.wire.chunks import (
    CHUNK_SIZE,
    MAX_CHUNK_SIZE,
    MIN_CHUNK_SIZE,
    ZERO_ID,
    chunk_count,
    chunk_id,
    chunk_length,
    is_chunk_size,
    is_zero,
    name_of,
    possession_proof,
)

SIZES = st.integers(0, 1 << 50)
CHUNK_SIZES = st.sampled_from([1 << bits for bits in range(16, 23)])


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("length", [1, 511, 4096, CHUNK_SIZE, MAX_CHUNK_SIZE])
def test_zeros_of_any_length_and_form_are_found(length: int, form: type[Buffer]) -> None:
    data = form(bytes(length))
    assert is_zero(data)
    assert name_of(data) == ZERO_ID


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview])
@given(length=st.integers(1, 9000), at=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_one_byte_that_is_not_zero_is_always_noticed(
    form: type[Buffer], length: int, at: float, value: int
) -> None:
    data = bytearray(length)
    data[int(at * length)] = value
    assert not is_zero(form(data))
    assert name_of(form(data)) == blake3(data).digest()


def test_nothing_is_zero() -> None:
    assert is_zero(b"")


def test_a_chunk_of_zeros_never_has_the_reserved_id_as_its_hash() -> None:
    assert chunk_id(bytes(CHUNK_SIZE)) != ZERO_ID


def test_a_proof_needs_the_bytes_and_the_key() -> None:
    data, key = b"content" * 999, bytes(range(32))
    proof = possession_proof(data, key)
    assert len(proof) == 32
    assert (
        len({proof, chunk_id(data), possession_proof(data, bytes(32)), possession_proof(data[1:], key)}) == 4
    )


@given(SIZES, CHUNK_SIZES)
def test_the_chunks_of_a_disk_cover_it_exactly(size: int, chunk_size: int) -> None:
    count = chunk_count(size, chunk_size)
    if count == 0:
        assert size == 0
        return
    last = chunk_length(count - 1, size, chunk_size)
    assert 0 < last <= chunk_size
    assert (count - 1) * chunk_size + last == size
    assert count == 1 or chunk_length(0, size, chunk_size) == chunk_size


@given(st.integers(-(1 << 40), 1 << 40))
def test_only_powers_of_two_in_the_range_are_chunk_sizes(value: int) -> None:
    expected = MIN_CHUNK_SIZE <= value <= MAX_CHUNK_SIZE and value.bit_count() == 1
    assert is_chunk_size(value) == expected


def test_every_allowed_chunk_size_is_a_chunk_size() -> None:
    assert [value for value in (1 << bits for bits in range(40)) if is_chunk_size(value)] == [
        1 << bits for bits in range(16, 23)
    ]
