"""The chunked transfer coding of HTTP/1.1 (RFC 9112, 7.1), taken apart without touching the data. Pure."""

import re
from enum import Enum, auto
from typing import Final

_LONGEST_LINE: Final = 1024
"""Bytes of a size with its extensions, or of a trailer."""
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[^\r]*)?")


class ChunkingError(Exception):
    """The body is not chunked as HTTP wants it; where it ends cannot be known any more."""


class _Line(Enum):
    """What the next line is for."""

    SIZE = auto()
    AFTER_DATA = auto()
    TRAILER = auto()


class ChunkedBody:
    """Follows a body: `left` bytes of data come next, or a line if there are none, or nothing if it `ended`.

    Extensions of sizes and trailers are passed over.
    """

    def __init__(self) -> None:
        self.left = 0
        self.ended = False
        self._next = _Line.SIZE
        self._line = bytearray()

    def took(self, count: int) -> None:
        """So many of the bytes that are `left` have come."""
        self.left -= count

    def take_line(self, view: memoryview) -> memoryview:
        """Take in what belongs to the next line; returns what follows it. Raises ChunkingError."""
        end = bytes(view[:_LONGEST_LINE]).find(b"\n") + 1
        length = end or view.nbytes
        if len(self._line) + length > _LONGEST_LINE:
            raise ChunkingError("a line between the chunks is too long")
        self._line += view[:length]
        if end:
            self._take(self._whole_line())
        return view[length:]

    def _whole_line(self) -> bytes:
        line, self._line = bytes(self._line), bytearray()
        if not line.endswith(b"\r\n"):
            raise ChunkingError("a line between the chunks does not end as HTTP wants it")
        return line[:-2]

    def _take(self, line: bytes) -> None:
        match self._next:
            case _Line.SIZE:
                self._begin(line)
            case _Line.AFTER_DATA if line:
                raise ChunkingError("a chunk is longer than its size says")
            case _Line.AFTER_DATA:
                self._next = _Line.SIZE
            case _Line.TRAILER:
                self.ended = not line

    def _begin(self, line: bytes) -> None:
        size = _SIZE.fullmatch(line)
        if size is None:
            raise ChunkingError("the size of a chunk is no hexadecimal number of up to eight digits")
        self.left = int(size[1], 16)
        self._next = _Line.AFTER_DATA if self.left else _Line.TRAILER
