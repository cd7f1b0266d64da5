"""Reading with damage: what a disk cannot give is halved down to 4 KiB, then zeroed and noted."""

import errno
from typing import Final

from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.errors import DiskError
from app.wire.chunks import BLOCK

PIECE: Final = 4 * 1024 * 1024
MAX_DAMAGED: Final = 10_000
"""Unreadable ranges of one leaf: a disk that is worse than this is not copied."""

_MEDIUM_ERRORS: Final = frozenset(
    {errno.EIO, errno.ENODATA, errno.EREMOTEIO, errno.EILSEQ, errno.EBADMSG, errno.ETIMEDOUT}
)


def read_span(reader: DiskReader, start: int, view: memoryview, damaged: list[tuple[int, int]]) -> None:
    """Fill `view` with the disk's bytes from `start`; zeros stand where the disk is unreadable.

    Appends (start, end) of unreadable ranges to `damaged`. Raises DiskError.
    """
    for at in range(0, view.nbytes, PIECE):
        _read(reader, start + at, view[at : at + PIECE], damaged)


def _read(reader: DiskReader, start: int, view: memoryview, damaged: list[tuple[int, int]]) -> None:
    try:
        reader.read_into(start, view)
    except OSError as error:
        if error.errno not in _MEDIUM_ERRORS:
            raise _read_error(reader, start, error) from error
        reader.require_unchanged()
        _read_halves(reader, start, view, damaged, error)


def _read_halves(
    reader: DiskReader, start: int, view: memoryview, damaged: list[tuple[int, int]], cause: OSError
) -> None:
    if view.nbytes > BLOCK:
        half = -(-view.nbytes // 2 // BLOCK) * BLOCK
        _read(reader, start, view[:half], damaged)
        _read(reader, start + half, view[half:], damaged)
        return
    view[:] = bytes(view.nbytes)
    damaged.append((start, min(start + view.nbytes, reader.size)))
    if len(damaged) > MAX_DAMAGED:
        raise _read_error(reader, start, cause) from cause


def _read_error(reader: DiskReader, start: int, error: OSError) -> DiskError:
    return DiskError(
        f"{reader.path} cannot be read at byte {start}: {error.strerror}",
        code="SOURCE_READ_ERROR",
        remedy="nothing was committed; check the disk and the kernel's log",
    )
