"""Reading a PNG (RFC 2083) as QEMU writes it for libvirt: eight bits of red, green, blue, not interlaced.

Each row begins with its filter, which is undone with the pixel to the left and the row above.
"""

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from app.launch.boot.screen import MOST_PIXELS, Picture

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_CHANNELS: Final = 3
_AS_EXPECTED: Final = (8, 2, 0, 0, 0)
"""Depth, colours, compression, filters, interlace."""


def picture_of_png(data: bytes) -> Picture:
    """The picture. Raises ValueError for a PNG of another kind, one that is cut off, or none."""
    parts = list(_parts(data))
    if not parts or parts[0][0] != b"IHDR" or parts[-1][0] != b"IEND":
        raise ValueError("the screen's picture is no whole PNG")
    width, height, *rest = struct.unpack(">IIBBBBB", parts[0][1])
    row = width * _CHANNELS
    if tuple(rest) != _AS_EXPECTED or not 0 < width * height <= MOST_PIXELS:
        raise ValueError(f"the screen's PNG of {width} × {height} is of the kind {rest}")
    packed = b"".join(body for kind, body in parts if kind == b"IDAT")
    try:
        raw = zlib.decompressobj().decompress(packed, (row + 1) * height + 1)
    except zlib.error as error:
        raise ValueError(f"the screen's PNG cannot be unpacked: {error}") from error
    if len(raw) != (row + 1) * height:
        raise ValueError(f"the screen's PNG of {width} × {height} has {len(raw)} bytes")
    return Picture(width, height, b"".join(_rows(raw, row)))


def _parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each part."""
    if not data.startswith(SIGNATURE):
        raise ValueError("the screen's picture is no PNG")
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + length]
        at += length + 12


def _rows(raw: bytes, row: int) -> Iterator[bytes]:
    above = bytes(row)
    for at in range(0, len(raw), row + 1):
        above = _unfiltered(raw[at], raw[at + 1 : at + 1 + row], above)
        yield above


def _unfiltered(kind: int, line: bytes, above: bytes) -> bytes:
    if kind == 0:
        return line
    if kind == 1:
        return _of_left(line)
    if kind == 2:
        return above if not any(line) else bytes((a + b) & 255 for a, b in zip(line, above, strict=True))
    if kind in (3, 4):
        return _of_both(line, above, is_average=kind == 3)
    raise ValueError(f"the screen's PNG has a row with the filter {kind}")


def _of_left(line: bytes) -> bytes:
    """Each byte is the sum of those before it in its channel."""
    whole = bytearray(len(line))
    for channel in range(_CHANNELS):
        sums = itertools.accumulate(line[channel::_CHANNELS])
        whole[channel::_CHANNELS] = bytes(each & 255 for each in sums)
    return bytes(whole)


def _of_both(line: bytes, above: bytes, *, is_average: bool) -> bytes:
    whole = bytearray(bytes(_CHANNELS) + line)
    before = bytes(_CHANNELS) + above
    for at in range(_CHANNELS, len(whole)):
        left, top = whole[at - _CHANNELS], before[at]
        guess = (left + top) // 2 if is_average else _paeth(left, top, before[at - _CHANNELS])
        whole[at] = (whole[at] + guess) & 255
    return bytes(whole[_CHANNELS:])


def _paeth(left: int, top: int, corner: int) -> int:
    """Which of the three is nearest to left + top - corner; the earlier one where two are."""
    to_left, to_top = abs(top - corner), abs(left - corner)
    to_corner = abs(left + top - 2 * corner)
    if to_left <= to_top and to_left <= to_corner:
        return left
    return top if to_top <= to_corner else corner
