"""Pictures of a console: reading what QEMU dumps, whether there is anything on it, writing PNG.

QEMU's plain `screendump` is a binary PPM (netpbm's ppm(5): `P6 width height 255`, then three bytes a pixel).
PNG after RFC 2083: signature, IHDR, IDAT with one filter byte a row, IEND.
"""

import re
import struct
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Final, Self

BLANK_BELOW: Final = 0.001
"""The share of pixels that differ from the background on a screen that shows something: 25 characters of text
on 720 × 400 are 0.0025, a lone cursor is 0.00006."""
MOST_PIXELS: Final = 7680 * 4320
_HEADER: Final = re.compile(rb"P6\s+(\d{1,5})\s+(\d{1,5})\s+255\s")
_PNG: Final = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """A picture: rows from the top, three bytes (red, green, blue) a pixel."""

    width: int
    height: int
    pixels: bytes

    @classmethod
    def of_ppm(cls, data: bytes) -> Self:
        """Read a PPM. Raises ValueError where it is none or is cut off."""
        header = _HEADER.match(data)
        if header is None:
            raise ValueError("the screen's picture is no PPM of three bytes a pixel")
        width, height = int(header[1]), int(header[2])
        pixels = data[header.end() :]
        if not 0 < width * height <= MOST_PIXELS or len(pixels) != width * height * 3:
            raise ValueError(f"the screen's picture of {width} × {height} has {len(pixels)} bytes")
        return cls(width, height, pixels)

    @property
    def shown(self) -> float:
        """The share of pixels that differ from the commonest colour."""
        channels = (self.pixels[channel::3] for channel in range(3))
        commonest = min(Counter(channel).most_common(1)[0][1] for channel in channels)
        return 1 - commonest / (self.width * self.height)

    @property
    def blank(self) -> bool:
        """Whether the screen shows nothing but a background and at most a cursor."""
        return self.shown < BLANK_BELOW

    def png(self) -> bytes:
        """The picture as PNG."""
        row = self.width * 3
        rows = (self.pixels[at : at + row] for at in range(0, len(self.pixels), row))
        raw = b"".join(b"\0" + each for each in rows)
        size = struct.pack(">IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        return _PNG + _part(b"IHDR", size) + _part(b"IDAT", zlib.compress(raw, 6)) + _part(b"IEND", b"")

    def thumbnail(self, most: int) -> "Picture":
        """A picture at most `most` pixels wide and high; each pixel is the brightest of those it stands for.

        The mean would lose the thin strokes of a console's text.
        """
        step = max(1, -(-max(self.width, self.height) // most))
        if step == 1:
            return self
        width, height = self.width // step, self.height // step
        if not width or not height:
            return self
        rows = b"".join(self._squeezed(y * step, step, width) for y in range(height))
        return Picture(width, height, rows)

    def _squeezed(self, top: int, step: int, width: int) -> bytes:
        """One row of the thumbnail, out of `step` rows from `top`."""
        row = self.width * 3
        lines = [self.pixels[(top + y) * row : (top + y + 1) * row] for y in range(step)]
        squeezed = bytearray(width * 3)
        for channel in range(3):
            end = width * step * 3
            samples = [line[channel + x * 3 : end : step * 3] for line in lines for x in range(step)]
            squeezed[channel::3] = bytes(map(max, zip(*samples, strict=True)))
        return bytes(squeezed)


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
