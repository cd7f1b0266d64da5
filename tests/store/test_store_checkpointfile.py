"""Checkpoint files: complete in themselves, and no changed byte passes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.checkpointfile import CheckpointDisk, CheckpointFile, CheckpointName, TrackerEvidence
from app.store.errors import ObjectDamaged
from app.wire.messages import Counters

text = st.text(max_size=20)
offsets = st.integers(0, 1 << 60)
ranges = st.lists(st.tuples(offsets, offsets), max_size=4).map(tuple)
hashes = st.binary(min_size=32, max_size=32).map(bytes.hex)
names = st.from_regex(r"[a-z]{3}-[a-z0-9]{26}", fullmatch=True)
disks = st.builds(
    CheckpointDisk, names, text, text, offsets, offsets, offsets, offsets, hashes, hashes,
    st.sampled_from(["frozen", "quiet", "fuzzy"]), ranges, ranges, st.builds(Counters, offsets, offsets),
)  # fmt: skip
files = st.builds(
    CheckpointFile, names, text, names, text, offsets, names, names, offsets, text, text, text,
    st.builds(TrackerEvidence, text, text), st.lists(disks, max_size=3).map(tuple),
)  # fmt: skip


@given(file=files)
def test_a_file_reads_back_as_it_was_written(file: CheckpointFile) -> None:
    assert CheckpointFile.decode(file.encode(), file.name) == file


@given(file=files)
def test_a_name_is_read_back_from_file_and_marker(file: CheckpointFile) -> None:
    assert CheckpointName.parse(file.name.key) == file.name
    assert CheckpointName.parse(file.name.marker) == file.name


@given(file=files, data=st.data())
@settings(max_examples=300)
def test_any_flipped_bit_is_found(file: CheckpointFile, data: Any) -> None:
    raw = bytearray(file.encode())
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << (at % 8)
    with pytest.raises(ObjectDamaged, match=file.name.key):
        CheckpointFile.decode(raw, file.name)


@given(file=files, data=st.data())
def test_any_truncation_is_found(file: CheckpointFile, data: Any) -> None:
    raw = file.encode()
    with pytest.raises(ObjectDamaged, match=file.name.key):
        CheckpointFile.decode(raw[: data.draw(st.integers(0, len(raw) - 1))], file.name)


@given(file=files, noise=st.binary(max_size=200))
def test_noise_is_a_named_error(file: CheckpointFile, noise: bytes) -> None:
    with pytest.raises(ObjectDamaged, match=file.name.key):
        CheckpointFile.decode(noise, file.name)


@given(file=files)
@settings(max_examples=20)
def test_a_good_file_under_another_name_is_refused(file: CheckpointFile) -> None:
    other = replace(file.name, number=file.name.number + 1)
    with pytest.raises(ObjectDamaged, match="holds the checkpoint"):
        CheckpointFile.decode(file.encode(), other)


@pytest.mark.parametrize(
    "key", ["checkpoints/srv/1-chk.json", "checkpoints/0000000001-chk.json", "packs/aa/x"]
)
def test_strangers_are_no_checkpoints(key: str) -> None:
    assert CheckpointName.parse(key) is None
