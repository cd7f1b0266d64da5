"""Patches: a patch of any edit gives the edited chunk, and one that does not fit its base is refused."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from xxhash import xxh3_64_intdigest

from app.wire.chunks import BLOCK
from app.wire.errors import PatchError
from app.wire.patch import (
    Extent,
    Patch,
    apply_patch,
    blocks_digest,
    decode_extents,
    encode_extents,
    extents_of,
    make_patch,
    merged,
    patched_bytes,
    signatures,
)

LENGTHS = st.integers(1, 40 * BLOCK) | st.sampled_from([BLOCK, BLOCK + 1, 39 * BLOCK, 40 * BLOCK - 1])
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=99)), max_size=12
)


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A chunk and what became of it after some small writes."""
    base = random.Random(draw(st.integers(0, 9))).randbytes(draw(LENGTHS))
    new = bytearray(base)
    for at, data in draw(EDITS):
        start = int(at * len(new))
        new[start : start + len(data)] = data[: len(new) - start]
    return base, bytes(new)


@given(edited())
def test_the_patched_base_is_the_new_chunk(pair: tuple[bytes, bytes]) -> None:
    base, new = pair
    patch = make_patch(memoryview(new), signatures(memoryview(base)), most=1.0)
    assert patch is not None
    assert apply_patch(memoryview(base), patch, len(new)) == new
    assert patched_bytes(patch.extents, len(new)) == len(patch.data)


@given(edited())
def test_a_patch_is_read_as_it_was_written(pair: tuple[bytes, bytes]) -> None:
    base, new = pair
    patch = make_patch(new, signatures(base), most=1.0)
    assert patch is not None
    again = Patch.decode(patch.encode())
    assert (again.extents, bytes(again.data)) == (patch.extents, patch.data)
    assert apply_patch(base, again, len(new)) == new


@given(edited())
def test_a_patch_names_changed_blocks_only_and_in_order(pair: tuple[bytes, bytes]) -> None:
    base, new = pair
    patch = make_patch(new, signatures(base), most=1.0)
    assert patch is not None
    named = [block for first, count in patch.extents for block in range(first, first + count)]
    changed = [
        at // BLOCK for at in range(0, len(new), BLOCK) if new[at : at + BLOCK] != base[at : at + BLOCK]
    ]
    assert named == changed
    assert all(sum(one) < other[0] for one, other in zip(patch.extents, patch.extents[1:], strict=False))


@given(st.lists(st.sets(st.integers(0, 7), min_size=1), min_size=1, max_size=6), st.integers())
def test_patches_one_after_the_other_are_one_patch(changes: list[set[int]], seed: int) -> None:
    source = random.Random(seed)
    base = plain = source.randbytes(8 * BLOCK)
    patches = []
    for blocks in changes:
        extents = extents_of(sorted(blocks))
        patches.append(Patch(extents, source.randbytes(len(blocks) * BLOCK)))
        plain = apply_patch(plain, patches[-1], len(base))
    one = merged(patches)
    assert apply_patch(base, one, len(base)) == plain
    assert one.extents == extents_of(sorted(set().union(*changes)))
    assert one.encoded_length == len(one.encode())


def test_neighbours_are_one_extent() -> None:
    assert extents_of([0, 1, 2, 5, 7, 8]) == ((0, 3), (5, 1), (7, 2))
    assert extents_of([]) == ()


def test_a_short_last_block_is_patched() -> None:
    base = bytes(2 * BLOCK) + b"short"
    new = base[:-1] + b"T"
    patch = make_patch(new, signatures(base))
    assert patch is not None
    assert patch == Patch(((2, 1),), b"shorT")
    assert apply_patch(base, patch, len(new)) == new


def test_signatures_are_big_endian_xxh3_of_each_block() -> None:
    data = random.Random(1).randbytes(2 * BLOCK + 7)
    expected = [xxh3_64_intdigest(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    assert signatures(data) == b"".join(value.to_bytes(8, "big") for value in expected)
    assert signatures(b"") == b""


def test_nothing_changed_is_an_empty_patch() -> None:
    data = random.Random(1).randbytes(3 * BLOCK)
    patch = make_patch(data, signatures(data))
    assert patch == Patch((), b"")
    assert apply_patch(data, Patch.decode(patch.encode()), len(data)) == data


def test_a_chunk_that_changed_too_much_is_not_patched() -> None:
    source = random.Random(1)
    base, new = source.randbytes(8 * BLOCK), source.randbytes(8 * BLOCK)
    assert make_patch(new, signatures(base)) is None
    half = new[: 4 * BLOCK] + base[4 * BLOCK :]
    assert make_patch(half, signatures(base)) is not None


@pytest.mark.parametrize("length", [BLOCK, 3 * BLOCK, 2 * BLOCK + 1])
def test_a_base_of_another_length_is_not_patched(length: int) -> None:
    assert make_patch(bytes(2 * BLOCK), signatures(bytes(length))) is None


@pytest.mark.parametrize(
    "extents",
    [
        ((1, 1), (0, 1)),
        ((0, 2), (1, 1)),
        ((1, 1), (1, 1)),
        ((0, 0),),
        ((3, 1),),
        ((2, 2),),
        ((0, 65535),),
        ((65535, 65535),),
    ],
    ids=["order", "overlap", "twice", "empty", "outside", "beyond", "far-beyond", "far-outside"],
)
@pytest.mark.parametrize("length", [3 * BLOCK, 2 * BLOCK + 1])
def test_extents_that_do_not_fit_are_refused(extents: tuple[Extent, ...], length: int) -> None:
    with pytest.raises(PatchError, match="extent"):
        patched_bytes(extents, length)
    with pytest.raises(PatchError, match="extent"):
        apply_patch(bytes(length), Patch(extents, bytes(length)), length)


def test_extents_that_touch_are_accepted() -> None:
    assert (
        apply_patch(bytes(2 * BLOCK), Patch(((0, 1), (1, 1)), b"a" * 2 * BLOCK), 2 * BLOCK)
        == b"a" * 2 * BLOCK
    )


@pytest.mark.parametrize("length", [0, 1, BLOCK - 1, BLOCK + 1, 2 * BLOCK])
def test_data_that_is_not_what_the_extents_hold_is_refused(length: int) -> None:
    with pytest.raises(PatchError, match="data"):
        apply_patch(bytes(2 * BLOCK), Patch(((1, 1),), bytes(length)), 2 * BLOCK)


@pytest.mark.parametrize("raw_length", [0, BLOCK, 3 * BLOCK])
def test_a_base_of_another_length_than_the_result_is_refused(raw_length: int) -> None:
    with pytest.raises(PatchError, match="base"):
        apply_patch(bytes(2 * BLOCK), Patch((), b""), raw_length)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535)), max_size=20).map(tuple), st.binary())
def test_an_extent_table_is_read_as_it_was_written(extents: tuple[Extent, ...], behind: bytes) -> None:
    encoded = encode_extents(extents)
    assert decode_extents(encoded + behind) == (extents, len(encoded))


@given(st.integers(0, 41))
def test_an_extent_table_that_is_cut_off_is_refused(kept: int) -> None:
    with pytest.raises(PatchError, match="cut off"):
        decode_extents(encode_extents(((1, 2),) * 10)[:kept])


@given(st.binary(max_size=300), st.integers(0, 5 * BLOCK))
def test_garbage_is_refused_by_name(data: bytes, length: int) -> None:
    try:
        result = apply_patch(bytes(length), Patch.decode(data), length)
    except PatchError:
        return
    assert len(result) == length


def test_a_digest_names_base_length_blocks_and_bytes() -> None:
    base, other = bytes(32), bytes(31) + b"x"
    patch = Patch(((1, 1), (3, 1)), bytes(2 * BLOCK))
    different = [
        blocks_digest(base, 8 * BLOCK, patch),
        blocks_digest(other, 8 * BLOCK, patch),
        blocks_digest(base, 9 * BLOCK, patch),
        blocks_digest(base, 8 * BLOCK, Patch(((1, 2),), bytes(2 * BLOCK))),
        blocks_digest(base, 8 * BLOCK, Patch(patch.extents, b"x" + bytes(2 * BLOCK - 1))),
    ]
    assert len(set(different)) == len(different)
    assert blocks_digest(base, 8 * BLOCK, Patch(patch.extents, memoryview(patch.data))) == different[0]
