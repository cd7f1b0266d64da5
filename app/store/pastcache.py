"""Writing packs and volumes past the page cache.

Through the cache that costs 0.3 CPU seconds a GiB, and more than one on a virtual host whose free memory was
never used before; with O_DIRECT, which wants whole blocks from aligned memory, 0.05 and one copy. It makes
nothing more durable: an fsync follows in any case.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from app.wire.buffers import Buffer
from app.wire.chunks import MIB
from app.wire.memory import aligned

LEAST_BYTES: Final = 4 * MIB
_PIECE: Final = 2 * MIB
_ALIGNMENT: Final = 4096


def write_past_cache(descriptor: int, parts: Sequence[Buffer]) -> int:
    """Write the parts at the file's position as far as they fill whole blocks; how many bytes that were.

    None are where the filesystem cannot do it: then they are written as usual. Raises OSError.
    """
    done = 0
    with _direct(descriptor) as is_granted:
        if is_granted:
            for piece in _pieces(parts):
                written = _write(descriptor, piece)
                done += written
                if written < piece.nbytes:
                    break
    return done


@contextmanager
def _direct(descriptor: int) -> Iterator[bool]:
    """Whether O_DIRECT is on within the block."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    if os.lseek(descriptor, 0, os.SEEK_CUR) % _ALIGNMENT:
        yield False
        return
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        yield False
        return
    try:
        yield True
    finally:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)


def _pieces(parts: Sequence[Buffer]) -> Iterator[memoryview]:
    """The parts, joined in aligned memory: pieces of _PIECE bytes, then one of what whole blocks are left.

    Each piece is overwritten by the next one.
    """
    room, filled = _room.view, 0
    for part in parts:
        view = memoryview(part).cast("B")
        while view.nbytes:
            taken = min(_PIECE - filled, view.nbytes)
            room[filled : filled + taken] = view[:taken]
            filled, view = filled + taken, view[taken:]
            if filled == _PIECE:
                yield room
                filled = 0
    if filled >= _ALIGNMENT:
        yield room[: filled - filled % _ALIGNMENT]


def _write(descriptor: int, piece: memoryview) -> int:
    """How much of the piece was written: less than all of it where O_DIRECT works no further."""
    done = 0
    while done < piece.nbytes and done % _ALIGNMENT == 0:
        try:
            done += os.write(descriptor, piece[done:])
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    return done


def skip(views: list[memoryview], written: int) -> None:
    """Take away what was written of buffers that follow each other."""
    whole = 0
    while whole < len(views) and written >= views[whole].nbytes:
        written -= views[whole].nbytes
        whole += 1
    del views[:whole]
    if written:
        views[0] = views[0][written:]


class _Room(threading.local):
    """Aligned memory, a piece of it for each thread."""

    def __init__(self) -> None:
        self.view = aligned(_PIECE)


_room: Final = _Room()


class DirectWriter:
    """Writes at offsets of an open file or block device, from any thread."""

    def __init__(self, descriptor: int) -> None:
        """Open what `descriptor` leads to once more, with O_DIRECT where that is possible."""
        try:
            self._descriptor = os.open(
                f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT
            )
        except OSError:
            self._descriptor = -1  # writes go through the cache then, which is slower and no less right

    def write(self, at: int, parts: Sequence[memoryview]) -> int:
        """Write what fills whole blocks from the start of the parts, at most 2 MiB; how many bytes.

        Raises OSError.
        """
        if self._descriptor < 0 or at % _ALIGNMENT:
            return 0
        room, filled = _room.view, 0
        for part in parts:
            taken = min(part.nbytes, _PIECE - filled)
            room[filled : filled + taken] = part[:taken]
            filled += taken
        try:
            return os.pwrite(self._descriptor, room[: filled - filled % _ALIGNMENT], at)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return 0

    def close(self) -> None:
        """Let go of the file; harmless a second time."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
