"""The tree of a disk: its root names content, size and chunk size, and nothing malformed passes."""

import tracemalloc
from collections.abc import Mapping

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from app.wire.chunks import CHUNK_SIZE, MAX_CHUNK_SIZE, MIB, MIN_CHUNK_SIZE, chunk_id
from app.wire.errors import TreeError
from app.wire.tree import (
    LEAF_BYTES,
    LEAF_IDS,
    MAX_LEAVES,
    ROOT_HEADER_BYTES,
    ZERO_LEAF,
    RootNode,
    changed_leaf,
    leaf_changes,
    leaf_count,
    leaf_hash,
    leaf_ids,
)

SPAN = MIN_CHUNK_SIZE * LEAF_IDS
"""Bytes of a disk under one leaf, at the smallest chunk size."""

HASHES = st.binary(min_size=32, max_size=32)


@st.composite
def roots(draw: st.DrawFn) -> RootNode:
    """Root nodes of disks with a handful of leaves."""
    chunk_size = draw(st.sampled_from([MIN_CHUNK_SIZE, CHUNK_SIZE, MAX_CHUNK_SIZE]))
    size = draw(st.integers(0, 5 * chunk_size * LEAF_IDS))
    count = leaf_count(size, chunk_size)
    return RootNode(size, chunk_size, b"".join(draw(st.lists(HASHES, min_size=count, max_size=count))))


@given(roots())
def test_a_root_is_read_as_it_was_written(root: RootNode) -> None:
    assert RootNode.decode(root.encode()) == root
    assert RootNode.decode(memoryview(root.encode())).hash == root.hash
    assert len(root.encode()) == ROOT_HEADER_BYTES + len(root.leaves)
    assert list(root.leaf_hashes()) == [root.leaf(index) for index in range(root.count)]


@given(roots(), st.data())
def test_a_root_that_is_cut_or_longer_is_refused(root: RootNode, data: st.DataObject) -> None:
    encoded = root.encode()
    with pytest.raises(TreeError):
        RootNode.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(TreeError):
        RootNode.decode(encoded + b"\0")


@given(roots(), st.data())
def test_a_flipped_bit_gives_another_root_or_none(root: RootNode, data: st.DataObject) -> None:
    encoded = bytearray(root.encode())
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        other = RootNode.decode(encoded)
    except TreeError:
        return
    assert other.hash != root.hash


@given(st.binary(max_size=100))
def test_garbage_is_no_root(data: bytes) -> None:
    with pytest.raises(TreeError):
        RootNode.decode(data)


def test_size_and_chunk_size_are_part_of_the_name() -> None:
    nodes = [RootNode.empty(size, chunk) for size in (1, 2, SPAN) for chunk in (MIN_CHUNK_SIZE, CHUNK_SIZE)]
    assert len({node.hash for node in nodes}) == len(nodes)


def test_the_root_hash_is_a_derived_key_of_the_encoded_node() -> None:
    node = RootNode.empty(SPAN, MIN_CHUNK_SIZE)
    assert node.hash == blake3(node.encode(), derive_key_context="go2cloud wire 1 root").digest()


@given(roots(), st.integers(0, 5 * SPAN), st.data())
def test_a_resized_disk_keeps_what_it_keeps_and_grows_by_zeros(
    root: RootNode, size: int, data: st.DataObject
) -> None:
    count = leaf_count(size, root.chunk_size)
    places = st.integers(0, max(0, count - 1))
    changed = data.draw(st.dictionaries(places, HASHES, max_size=4)) if count else {}
    made = root.with_leaves(size, changed)
    assert made.size == size
    assert made.leaves == plainly_resized(root, count, changed)


def plainly_resized(root: RootNode, count: int, changed: Mapping[int, bytes]) -> bytes:
    """What `with_leaves` promises, leaf by leaf."""
    kept = [root.leaf(index) for index in range(count)]
    return b"".join(changed.get(index, kept[index]) for index in range(count))


def test_growing_back_does_not_bring_old_leaves_back() -> None:
    full = RootNode(2 * SPAN, MIN_CHUNK_SIZE, b"a" * 64)
    assert full.with_leaves(SPAN, {}).with_leaves(2 * SPAN, {}).leaf(1) == ZERO_LEAF


@pytest.mark.parametrize("index", [-1, 2, 1 << 40])
def test_a_leaf_outside_of_the_disk_is_refused(index: int) -> None:
    with pytest.raises(TreeError, match=f"leaf {index} "):
        RootNode.empty(2 * SPAN, MIN_CHUNK_SIZE).with_leaves(2 * SPAN, {index: bytes(32)})


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_a_leaf_hash_of_another_length_is_refused(value: bytes) -> None:
    with pytest.raises(TreeError):
        RootNode.empty(SPAN, MIN_CHUNK_SIZE).with_leaves(SPAN, {0: value})


@pytest.mark.parametrize("size", [-1, MAX_LEAVES * SPAN + 1, 1 << 62, -(1 << 62)])
def test_a_size_beyond_the_limit_is_refused_before_memory_is_taken(size: int) -> None:
    node = RootNode.empty(SPAN, MIN_CHUNK_SIZE)
    tracemalloc.start()
    try:
        with pytest.raises(TreeError, match="outside"):
            node.with_leaves(size, {})
        with pytest.raises(TreeError, match="outside"):
            RootNode.empty(size, MIN_CHUNK_SIZE)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_the_largest_disk_is_allowed() -> None:
    assert RootNode.empty(MAX_LEAVES * LEAF_IDS * MAX_CHUNK_SIZE, MAX_CHUNK_SIZE).count == MAX_LEAVES


@pytest.mark.parametrize("chunk_size", [0, -1, 4096, CHUNK_SIZE + 1, 2 * MAX_CHUNK_SIZE])
def test_a_chunk_size_that_is_not_allowed_is_refused(chunk_size: int) -> None:
    with pytest.raises(TreeError, match="chunk size"):
        RootNode(0, chunk_size, b"")


def test_a_root_with_too_few_or_too_many_leaves_is_refused() -> None:
    for count in (0, 1, 3):
        with pytest.raises(TreeError):
            RootNode(2 * SPAN, MIN_CHUNK_SIZE, bytes(32 * count))


def test_a_leaf_of_zeros_has_the_reserved_hash() -> None:
    assert leaf_hash(bytes(LEAF_BYTES)) == ZERO_LEAF


@given(st.binary(min_size=1, max_size=64), st.integers(0, LEAF_BYTES - 64))
def test_a_leaf_can_never_pass_for_a_chunk(some: bytes, at: int) -> None:
    leaf = bytearray(LEAF_BYTES)
    leaf[at : at + len(some)] = some
    if any(some):
        assert leaf_hash(leaf) == blake3(leaf, derive_key_context="go2cloud wire 1 leaf").digest()
        assert leaf_hash(leaf) != chunk_id(leaf)
    assert b"".join(leaf_ids(leaf)) == leaf


@given(st.dictionaries(st.integers(0, LEAF_IDS - 1), HASHES, max_size=30), HASHES)
def test_the_changes_between_two_leaves_turn_one_into_the_other(
    changed: dict[int, bytes], old: bytes
) -> None:
    before = old * LEAF_IDS
    after = b"".join(changed.get(index, old) for index in range(LEAF_IDS))
    changes = leaf_changes(before, after)
    assert changes == tuple(sorted((index, new) for index, new in changed.items() if new != old))
    assert changed_leaf(before, changes) == after
    assert changed_leaf(memoryview(before), ()) == before


@pytest.mark.parametrize("length", [0, 32, LEAF_BYTES - 32, LEAF_BYTES + 1])
def test_a_leaf_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(TreeError):
        leaf_hash(bytes(length))
