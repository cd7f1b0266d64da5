"""The pack format: what goes in comes out, and no damaged byte passes."""

import secrets
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.errors import ObjectDamaged
from app.store.pack import (
    ENTRY,
    MAX_DEPTH,
    MAX_PACK_BYTES,
    TRAILER,
    PackBuilder,
    PackEntry,
    SealedPack,
    parse_footer,
    parse_trailer,
)
from app.store.packcheck import examine, parse_pack
from app.wire.chunks import MAX_CHUNK_SIZE, ZERO_ID, chunk_id
from app.wire.codec import Codec, encode
from app.wire.patch import make_patch, signatures

plain_chunks = st.lists(st.binary(min_size=1, max_size=2000).filter(any), max_size=8, unique=True)


def sealed(chunks: list[bytes], delta: bool = False) -> SealedPack:
    builder = PackBuilder("prj-one", "srv-one")
    for plain in chunks:
        codec, data = encode(plain)
        builder.add(chunk_id(plain), codec, len(plain), data)
    if delta and chunks:
        changed = chunks[0][:-1] + bytes([chunks[0][-1] ^ 255])
        patch = make_patch(changed, signatures(chunks[0]), most=1.0)
        assert patch is not None
        builder.add(chunk_id(changed), Codec.DELTA, len(changed), patch.encode(), chunk_id(chunks[0]), 1)
    return builder.seal()


def joined(pack: SealedPack) -> bytes:
    return b"".join(pack.parts)


@given(chunks=plain_chunks, delta=st.booleans())
def test_a_pack_reads_back_as_it_was_built(chunks: list[bytes], delta: bool) -> None:
    pack = sealed(chunks, delta)
    data = joined(pack)
    assert (len(data), blake3(data).digest()) == (pack.size, pack.name)
    index = parse_pack(data)
    assert (index.owner, index.entries) == (pack.owner, pack.entries)
    found = examine(pack.name, data)
    assert (found.fault, found.damaged) == (None, frozenset())


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_packs_of_both_versions_are_read_and_of_no_other(
    version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("app.store.pack.VERSION", version)
        made = sealed([b"one", b"two"], delta=True)
    fault = examine(made.name, joined(made)).fault
    assert (fault is None) == (version in (1, 2))


@given(chunks=plain_chunks.filter(len))
def test_the_index_needs_two_small_reads(chunks: list[bytes]) -> None:
    pack = sealed(chunks)
    data = joined(pack)
    tail = data[-TRAILER.size :]
    trailer = parse_trailer(tail, len(data))
    index = parse_footer(data[trailer.offset : trailer.offset + trailer.length], tail)
    assert index.entries == pack.entries
    assert trailer.length < 100 + ENTRY.size * len(chunks)


@given(data=st.data(), chunks=plain_chunks.filter(len), delta=st.booleans())
@settings(max_examples=300)
def test_any_flipped_bit_is_found(data: Any, chunks: list[bytes], delta: bool) -> None:
    pack = sealed(chunks, delta)
    raw = bytearray(joined(pack))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << (at % 8)
    found = examine(pack.name, raw)
    assert found.fault
    if at // 8 >= pack.entries[-1].end:
        with pytest.raises(ObjectDamaged):
            parse_pack(raw)


@given(data=st.data(), chunks=plain_chunks)
def test_any_truncation_is_found(data: Any, chunks: list[bytes]) -> None:
    pack = sealed(chunks)
    raw = joined(pack)[: data.draw(st.integers(0, pack.size - 1))]
    with pytest.raises(ObjectDamaged):
        parse_pack(raw)


@given(raw=st.binary(max_size=400), size=st.integers(0, 1 << 70))
def test_noise_is_a_named_error(raw: bytes, size: int) -> None:
    with pytest.raises(ObjectDamaged):
        parse_pack(raw)
    with pytest.raises(ObjectDamaged):
        parse_trailer(raw[: TRAILER.size], size)


def test_a_flipped_bit_in_a_record_names_the_chunk_it_hits() -> None:
    chunks = [secrets.token_bytes(1000) for _ in range(3)]
    pack = sealed(chunks)
    raw = bytearray(joined(pack))
    raw[pack.entries[1].offset + 500] ^= 1
    assert examine(pack.name, raw).damaged == {chunk_id(chunks[1])}


def test_the_same_content_put_again_has_another_name() -> None:
    chunks = [b"content"]
    assert sealed(chunks).name != sealed(chunks).name


def test_a_pack_is_full_at_its_target_and_refuses_more() -> None:
    builder = PackBuilder("prj-one", "srv-one")
    while not builder.is_full:
        data = secrets.token_bytes(MAX_CHUNK_SIZE)
        builder.add(chunk_id(data), Codec.NONE, len(data), data)
    with pytest.raises(ValueError, match="full"):
        builder.add(chunk_id(b"x"), Codec.NONE, 1, b"x")
    pack = builder.seal()
    assert 16 << 20 <= pack.size <= 32 << 20 < MAX_PACK_BYTES
    assert parse_pack(joined(pack)).entries == pack.entries


def test_a_builder_keeps_the_buffers_it_is_given() -> None:
    data = memoryview(bytearray(b"not copied"))
    builder = PackBuilder("prj-one", "srv-one")
    builder.add(chunk_id(data), Codec.NONE, len(data), data)
    assert any(part is data for part in builder.seal().parts)


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (PackEntry(ZERO_ID, 0, 10, 10, Codec.NONE), "id"),
        (PackEntry(b"short", 0, 10, 10, Codec.NONE), "id"),
        (PackEntry(b"i" * 32, 0, 10, 11, Codec.NONE), "lengths differ"),
        (PackEntry(b"i" * 32, 0, 10, 0, Codec.ZSTD), "raw length"),
        (PackEntry(b"i" * 32, 0, 10, MAX_CHUNK_SIZE + 1, Codec.ZSTD), "raw length"),
        (PackEntry(b"i" * 32, 0, 11, 10, Codec.ZSTD), "compressed"),
        (PackEntry(b"i" * 32, 0, 10, 10, Codec.NONE, base=b"b" * 32), "no patch"),
        (PackEntry(b"i" * 32, 0, 10, 10, Codec.DELTA), "without a base"),
        (PackEntry(b"i" * 32, 0, 10, 10, Codec.DELTA, base=b"i" * 32, depth=1), "without a base"),
        (PackEntry(b"i" * 32, 0, 10, 10, Codec.DELTA, base=b"b" * 32), "chain"),
        (PackEntry(b"i" * 32, 0, 10, 10, Codec.DELTA, base=b"b" * 32, depth=MAX_DEPTH + 1), "chain"),
    ],
)
def test_a_record_that_could_not_be_read_again_is_not_taken(entry: PackEntry, reason: str) -> None:
    builder = PackBuilder("prj-one", "srv-one")
    with pytest.raises(ValueError, match=reason):
        builder.add(
            entry.id, entry.codec, entry.raw_length, bytes(entry.stored_length), entry.base, entry.depth
        )


def test_a_forged_footer_that_hashes_right_is_still_refused() -> None:
    pack = sealed([b"one" * 100, b"two" * 100])
    footer_at = pack.entries[-1].end
    raw = bytearray(joined(pack))
    entry = pack.entries[0]
    moved = PackEntry(entry.id, entry.offset + 1, entry.stored_length, entry.raw_length, entry.codec)
    at = len(raw) - TRAILER.size - 2 * ENTRY.size
    raw[at : at + ENTRY.size] = moved.encode()
    raw[-32:] = blake3(bytes(raw[footer_at:-32])).digest()
    with pytest.raises(ObjectDamaged, match="one after the other"):
        parse_pack(raw)
