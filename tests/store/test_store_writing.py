"""Writing many buffers of all sizes: the same bytes in the same order, by calls of bounded size."""

import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.store.folder import FileCalls
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
    descriptor = os.open(tmp_path / "object", os.O_WRONLY | os.O_CREAT)
    FileCalls().write(descriptor, [bytes(256 * KIB)] * 96)
    os.close(descriptor)
    assert sum(written) == 24 * MIB
    assert max(written) <= MIB + 256 * KIB
