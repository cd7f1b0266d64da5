"""Disks proved from a stream: the same root as from a file, and no change is passed over."""

import random
from pathlib import Path

import pytest

from app.store.errors import VolumeUnusable
from app.store.streamhash import StreamChanges, StreamHash
from app.store.volume import volume_root
from app.wire.chunks import MIB, ZERO_ID, name_of
from app.wire.messages import Range

CHUNK = 64 * 1024
SIZE = 130 * MIB + 777


def streamed(pieces: list[tuple[int, bytes]], masked: tuple[Range, ...] = ()) -> bytes:
    with StreamHash(SIZE, CHUNK, masked) as proof:
        for at, data in pieces:
            proof.feed(at, data)
        return proof.root()


def test_the_root_is_that_of_the_file_with_holes_ragged_pieces_and_masks(tmp_path: Path) -> None:
    source = random.Random(1)
    places = [(0, 5000), (3 * MIB + 7, 6 * MIB), (63 * MIB, 2 * MIB), (129 * MIB, MIB + 777 + MIB - MIB)]
    pieces = [(at, source.randbytes(length)) for at, length in places]
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(SIZE)
        for at, data in pieces:
            file.seek(at)
            file.write(data)
    for masked in ((), ((100, 7000), (64 * MIB - 10, 20), (SIZE - 5, 5))):
        assert streamed(pieces, masked) == volume_root(tmp_path / "disk", SIZE, CHUNK, masked)


def test_a_disk_of_zeros_has_its_root_without_a_piece(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(SIZE)
    assert streamed([]) == volume_root(tmp_path / "disk", SIZE, CHUNK)


@pytest.mark.parametrize("at", [0, SIZE])
def test_pieces_out_of_order_or_beyond_the_end_are_refused(at: int) -> None:
    with pytest.raises(VolumeUnusable):
        streamed([(10, b"x"), (at, b"y")])


NEW = random.Random(2).randbytes(CHUNK)
WANTED = [(2, name_of(NEW)), (5, ZERO_ID)]
RIGHT = [(2 * CHUNK, 100, NEW[:100]), (2 * CHUNK + 100, CHUNK - 100, NEW[100:]), (5 * CHUNK, CHUNK, None)]


@pytest.mark.parametrize(
    ("extents", "is_proved"),
    [
        (RIGHT, True),
        (RIGHT[:2], False),
        ([RIGHT[0], RIGHT[2]], False),
        ([*RIGHT, (7 * CHUNK, 1, b"x")], False),
        ([*RIGHT[:2], (5 * CHUNK, CHUNK, bytes(CHUNK - 1) + b"x")], False),
        ([(2 * CHUNK, CHUNK, NEW), (5 * CHUNK, CHUNK, bytes(CHUNK))], True),
        ([*RIGHT, (8 * CHUNK, CHUNK, None)], True),
    ],
)
def test_changes_are_proved_when_all_are_whole_and_right_and_nothing_else_changed(
    extents: list[tuple[int, int, bytes | None]], is_proved: bool
) -> None:
    proof = StreamChanges(8 * CHUNK, CHUNK, WANTED)
    for at, length, data in extents:
        proof.feed(at, length, data)
    assert proof.are_proved() is is_proved
