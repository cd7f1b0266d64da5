"""A volume's root from its own bytes: equal to the plain definition, whatever holes, threads and masks do."""

import random
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.store.errors import VolumeTooSmall, VolumeUnusable
from app.store.volume import volume_root
from app.store.volumehash import volume_tree
from app.wire.chunks import chunk_count, name_of
from app.wire.messages import Range
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, leaf_hash
from tests.store.world import CHUNK


def plain_root(content: bytes, masked: list[Range] | None = None) -> bytes:
    """The definition, byte by byte."""
    data = bytearray(content)
    for start, length in masked or []:
        data[start : start + length] = bytes(len(data[start : start + length]))
    ids = [name_of(bytes(data[n * CHUNK : (n + 1) * CHUNK])) for n in range(chunk_count(len(data), CHUNK))]
    leaves = [b"".join(ids[at : at + LEAF_IDS]) for at in range(0, len(ids), LEAF_IDS)]
    hashes = [leaf_hash(leaf.ljust(LEAF_BYTES, b"\0")) for leaf in leaves]
    return RootNode(len(data), CHUNK, b"".join(hashes)).hash


pieces = st.lists(
    st.tuples(st.integers(0, 6 * CHUNK), st.integers(0, 2 * CHUNK), st.integers(0, 1000)), max_size=5
)
masks = st.lists(st.tuples(st.integers(0, 6 * CHUNK), st.integers(0, 3 * CHUNK)), max_size=5)


@given(size=st.integers(0, 6 * CHUNK), pieces=pieces, masked=masks)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_the_root_is_that_of_the_bytes_with_masked_ranges_zero(
    tmp_path: Path, size: int, pieces: list[tuple[int, int, int]], masked: list[Range]
) -> None:
    path = tmp_path / "volume"
    with path.open("wb") as file:
        for at, length, seed in pieces:
            file.seek(at)
            file.write(random.Random(seed).randbytes(length))
        file.truncate(size)
    assert volume_root(path, size, CHUNK, masked) == plain_root(path.read_bytes(), masked)


def test_many_leaves_keep_their_order(tmp_path: Path) -> None:
    size = 5 * LEAF_IDS * CHUNK + 3
    path = tmp_path / "volume"
    with path.open("wb") as file:
        file.truncate(size)
        for leaf in (0, 2, 5):
            file.seek(leaf * LEAF_IDS * CHUNK)
            file.write(secrets.token_bytes(3))
    tree = volume_tree(path, size, CHUNK)
    assert [leaf != bytes(32) for leaf in tree.leaf_hashes()] == [True, False, True, False, False, True]


def test_a_larger_volume_is_hashed_up_to_the_disks_size(tmp_path: Path) -> None:
    content = secrets.token_bytes(2 * CHUNK)
    (tmp_path / "volume").write_bytes(content + b"tail")
    assert volume_root(tmp_path / "volume", len(content), CHUNK) == plain_root(content)


def test_a_volume_that_ends_early_is_named(tmp_path: Path) -> None:
    (tmp_path / "volume").write_bytes(secrets.token_bytes(CHUNK))
    with pytest.raises(VolumeTooSmall, match="volume"):
        volume_root(tmp_path / "volume", CHUNK + 1, CHUNK)


def test_a_volume_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeUnusable, match="nowhere"):
        volume_root(tmp_path / "nowhere", CHUNK, CHUNK)
