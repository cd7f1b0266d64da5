"""Memory for frames that go out, used again and again.

A frame has megabytes. So much memory comes from the kernel and goes back to it each time, page by page, which
takes a seventh of the CPU time of an agent that does not compress.
"""

import threading
from collections.abc import Sequence
from typing import Final

from app.wire.buffers import Buffer
from app.wire.chunks import CHUNK_SIZE, KIB, MIB
from app.wire.frames import TARGET_PAYLOAD

_ROOM: Final = TARGET_PAYLOAD + CHUNK_SIZE + 32 * KIB
"""Bytes of the largest frame of chunks of the usual size, with its heads."""
_LEAST: Final = MIB
"""What is smaller would leave too much of a room empty."""
_KEPT: Final = 4
"""Rooms that wait to be used; as many more as frames wait to be sent are in use."""


class FrameMemory:
    """Where the frames of a round are put together, by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[bytearray] = []

    def join(self, parts: Sequence[Buffer]) -> Buffer:
        """The parts, which count in bytes, one behind the other."""
        size = sum(len(part) for part in parts)
        if not _LEAST <= size <= _ROOM:
            return b"".join(parts)
        frame, at = memoryview(self._take())[:size], 0
        for part in parts:
            frame[at : at + len(part)] = part
            at += len(part)
        return frame

    def give_back(self, frame: Buffer) -> None:
        """Nobody looks at a frame of `join` any more."""
        if isinstance(frame, memoryview) and isinstance(frame.obj, bytearray):
            with self._lock:
                if len(self._free) < _KEPT:
                    self._free.append(frame.obj)

    def _take(self) -> bytearray:
        with self._lock:
            return self._free.pop() if self._free else bytearray(_ROOM)
