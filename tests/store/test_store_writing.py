"""Writing many buffers of all sizes: the same bytes in the same order, by calls of bounded size."""

import errno
import fcntl
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.store import folder
from app.store.folder import FileCalls
from app.store.pastcache import write_past_cache
from app.wire.buffers import Buffer
from app.wire.chunks import KIB, MIB


@pytest.mark.parametrize("seed", range(8))
def test_buffers_of_any_size_are_written_in_order(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    sizes = [chance.choice([0, 1, 44, 4 * KIB, 256 * KIB, MIB, 3 * MIB]) for _ in range(40)]
    parts = [chance.randbytes(size) for size in sizes]
    path = tmp_path / "object"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    FileCalls().write(descriptor, parts)
    os.close(descriptor)
    assert path.read_bytes() == b"".join(parts)


def test_a_write_takes_no_more_buffers_than_are_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    real = os.writev

    def note(descriptor: int, views: Sequence[Buffer]) -> int:
        written.append(real(descriptor, views))
        return written[-1]

    monkeypatch.setattr(os, "writev", note)
    monkeypatch.setattr(folder, "write_past_cache", lambda descriptor, views: 0)
    descriptor = os.open(tmp_path / "object", os.O_WRONLY | os.O_CREAT)
    FileCalls().write(descriptor, [bytes(256 * KIB)] * 96)
    os.close(descriptor)
    assert sum(written) == 24 * MIB
    assert max(written) <= MIB + 256 * KIB


def _written(path: Path, data: bytes) -> int:
    """Write past the cache what fills blocks, in parts of odd sizes; how much that was."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        return write_past_cache(descriptor, [data[at : at + 77_777] for at in range(0, len(data), 77_777)])
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 2 * MIB, 2 * MIB + 4096, 5 * MIB + 1234])
def test_what_fills_blocks_goes_past_the_cache_and_the_rest_is_left(size: int, tmp_path: Path) -> None:
    data = random.Random(size).randbytes(size)
    written = _written(tmp_path / "object", data)
    assert written in (size - size % 4096, 0)
    assert (tmp_path / "object").read_bytes() == data[:written]


def test_a_filesystem_that_refuses_direct_writes_gets_usual_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, data: Buffer) -> int:
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "write", refuse)
    data = random.Random(7).randbytes(6 * MIB + 5)
    descriptor = os.open(tmp_path / "object", os.O_WRONLY | os.O_CREAT)
    FileCalls().write(descriptor, [data])
    assert not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT
    os.close(descriptor)
    assert (tmp_path / "object").read_bytes() == data


def test_a_write_that_begins_within_a_block_does_not_go_past_the_cache(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "object", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"x")
    assert write_past_cache(descriptor, [bytes(8 * MIB)]) == 0
    os.close(descriptor)


def test_no_room_is_told_by_a_write_past_the_cache_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int, data: Buffer) -> int:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(os, "write", fail)
    with pytest.raises(OSError, match="no room"):
        _written(tmp_path / "object", bytes(6 * MIB))
