"""Outboards give BLAKE3's own hashes, whatever the processor, and nothing else passes for one."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from app.store import outboard
from app.store.outboard import (
    hashed,
    is_available,
    is_of,
    outboard_bytes,
    patched,
    use_lanes,
    worthwhile,
    zeros_hash,
)
from app.wire.chunks import BLOCK, CHUNK_SIZE, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from app.wire.errors import PatchError
from app.wire.patch import Patch, extents_of, patch_of

RANDOM = random.Random("outboard")
SIZES = [MIN_CHUNK_SIZE << shift for shift in range(7)]


def test_it_was_compiled() -> None:
    assert is_available(), "no C compiler was there when the package was installed: make apt, rm .venv/.ready"


@pytest.fixture
def built_for_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    library = tmp_path / "liboutboard.so"
    library.write_bytes(b"\x7fELF of something else")
    monkeypatch.setattr(outboard, "_LIBRARY", library)
    outboard._library.cache_clear()
    yield
    outboard._library.cache_clear()


@pytest.mark.usefixtures("built_for_another_machine")
def test_one_that_cannot_be_loaded_is_told_of_once_and_done_without() -> None:
    data = RANDOM.randbytes(MIN_CHUNK_SIZE)
    with capture_logs() as logs:
        assert [hashed(data), hashed(data)] == [(blake3(data).digest(), b"")] * 2
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("store.outboards_unavailable", "warning")
    ]
    assert not is_available()


@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_has_the_hash_of_the_library(size: int) -> None:
    assert SIZES[-1] == MAX_CHUNK_SIZE
    data = RANDOM.randbytes(size)
    name, found = hashed(data)
    assert (name, len(found)) == (blake3(data).digest(), size // 128)
    assert is_of(found, name)


@pytest.mark.parametrize("size", [0, 1, BLOCK, MIN_CHUNK_SIZE // 2, CHUNK_SIZE - BLOCK, CHUNK_SIZE + 1])
def test_chunks_of_other_lengths_have_none(size: int) -> None:
    data = RANDOM.randbytes(size)
    assert hashed(data) == (blake3(data).digest(), b"")
    assert outboard_bytes(size) == 0


@given(size=st.sampled_from(SIZES[:3]), blocks=st.sets(st.integers(0, 255), min_size=1, max_size=40))
def test_what_a_patch_makes_follows_from_the_outboard(size: int, blocks: set[int]) -> None:
    data = bytearray(RANDOM.randbytes(size))
    _, before = hashed(data)
    wanted = sorted({block % (size // BLOCK) for block in blocks})
    for block in wanted:
        data[block * BLOCK : (block + 1) * BLOCK] = RANDOM.randbytes(BLOCK)
    patch = patch_of(data, extents_of(wanted), most=1.0)
    assert patch is not None
    assert patched(before, patch) == hashed(data)


@pytest.mark.parametrize(
    "patch",
    [
        Patch(((0, 1),), bytes(BLOCK - 1)),
        Patch(((0, 1),), bytes(2 * BLOCK)),
        Patch(((CHUNK_SIZE // BLOCK, 1),), bytes(BLOCK)),
        Patch(((3, 1), (2, 1)), bytes(2 * BLOCK)),
        Patch(((0, 0),), b""),
    ],
    ids=["short", "long", "outside", "out of order", "empty"],
)
def test_a_patch_that_does_not_fit_is_refused(patch: Patch) -> None:
    _, before = hashed(bytes(CHUNK_SIZE))
    with pytest.raises(PatchError):
        patched(before, patch)


def test_nothing_else_passes_for_the_outboard_of_a_chunk() -> None:
    name, good = hashed(RANDOM.randbytes(CHUNK_SIZE))
    for at in range(0, len(good), 97):
        assert not is_of(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :], name)
    assert not any(is_of(other, name) for other in (b"", good[:-32], good + good, good[:-1], name))


def test_zeros_are_known_by_their_hash() -> None:
    assert zeros_hash(CHUNK_SIZE) == hashed(bytes(CHUNK_SIZE))[0]


def test_a_small_record_is_read_as_fast_as_an_outboard() -> None:
    assert worthwhile(2048, 16 * 1024) == 2048
    assert worthwhile(2048, 16 * 1024 - 1) == 0


def test_without_the_library_there_are_none(without_outboards: None) -> None:
    data = RANDOM.randbytes(CHUNK_SIZE)
    assert not is_available()
    assert hashed(data) == (blake3(data).digest(), b"")
    assert not is_of(bytes(2048), bytes(32))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_all_widths_of_vectors_give_the_same(lanes: int) -> None:
    """Other processors compute with another one."""
    try:
        assert use_lanes(lanes) <= lanes
        for size in SIZES:
            data = RANDOM.randbytes(size)
            name, found = hashed(data)
            assert name == blake3(data).digest()
            new = RANDOM.randbytes(3 * BLOCK)
            changed = data[: 3 * BLOCK] + new[: 2 * BLOCK] + data[5 * BLOCK : 15 * BLOCK]
            changed += new[2 * BLOCK :] + data[16 * BLOCK :]
            assert hashed(changed)[0] == blake3(changed).digest()
            assert patched(found, Patch(((3, 2), (15, 1)), new)) == hashed(changed)
    finally:
        use_lanes(16)
