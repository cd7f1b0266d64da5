"""PNGs are read back as what was painted, whatever filters their writer chose; a broken one is none."""

import itertools
import random
import struct
import zlib

import pytest

from app.launch.boot.pngreading import picture_of_png
from app.launch.boot.screen import Picture

WIDTH, HEIGHT = 7, 5
ROW = WIDTH * 3


def painted() -> Picture:
    return Picture(WIDTH, HEIGHT, random.Random(3).randbytes(ROW * HEIGHT))


def predicted(kind: int, left: int, top: int, corner: int) -> int:
    """What the filters of RFC 2083, 6.2 to 6.6, take from a byte."""
    if kind == 4:
        guess = left + top - corner
        return min((left, top, corner), key=lambda each: abs(guess - each))
    return (0, left, top, (left + top) // 2)[kind]


def filtered(picture: Picture, kind: int) -> bytes:
    lines = [bytes(ROW), *(picture.pixels[at : at + ROW] for at in range(0, ROW * HEIGHT, ROW))]
    rows = b""
    for above, line in itertools.pairwise(lines):
        rows += bytes([kind])
        for at, byte in enumerate(line):
            left, corner = (line[at - 3], above[at - 3]) if at >= 3 else (0, 0)
            rows += bytes([(byte - predicted(kind, left, above[at], corner)) & 255])
    return rows


def png(rows: bytes, colours: int = 2) -> bytes:
    head = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, colours, 0, 0, 0)
    parts = ((b"IHDR", head), (b"tEXt", b"by QEMU"), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(struct.pack(">I4s", len(data), kind) + data + b"sum!" for kind, data in parts)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("kind", range(5))
def test_each_filter_is_undone(kind: int) -> None:
    assert picture_of_png(png(filtered(painted(), kind))) == painted()


def test_what_we_write_we_read() -> None:
    assert picture_of_png(painted().png()) == painted()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"P6 1 1 255 abc",
        painted().png()[:-20],
        png(filtered(painted(), 0)[:-1]),
        png(filtered(painted(), 0) + b"more"),
        png(bytes([9]) + filtered(painted(), 0)[1:]),
        png(filtered(painted(), 0), colours=6),
    ],
)
def test_what_is_no_such_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"picture|PNG"):
        picture_of_png(data)
