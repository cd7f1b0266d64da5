"""The members of an initrd: archives behind one another, each plain or compressed, as kernels unpack them.

Forms and their magics are those of lib/decompress.c of the kernel.
"""

import bz2
import lzma
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import Final

import zstandard

from app.launch.conversion.cpio import MAGICS, CpioDamaged, Member, is_trailer, read
from app.launch.programs import require_program

MOST_BYTES: Final = 1 << 30
"""Of what an initrd unpacks to, all of its archives together: a hostile one would fill the node's memory."""
_LZ4: Final = b"\x02\x21\x4c\x18"


class InitrdUnreadable(ValueError):
    """An initrd that cannot be read, and why."""


def members(data: bytes) -> Iterator[Member]:
    """All members in the order in which the kernel unpacks them, so that a later one replaces an earlier.

    Raises InitrdUnreadable, ToolMissing.
    """
    at = total = 0
    try:
        while at < len(data):
            if data[at] == 0:
                at = _behind_zeros(data, at)
            elif data[at : at + 6] in MAGICS:
                at = yield from _archived(data, at)
            else:
                unpacked, at = _unpacked(data, at)
                total += len(unpacked)
                yield from _inner(_whole(unpacked, eof=total <= MOST_BYTES))
    except (CpioDamaged, zlib.error, lzma.LZMAError, OSError, zstandard.ZstdError, EOFError) as error:
        raise InitrdUnreadable(str(error)) from error


def _inner(data: bytes) -> Iterator[Member]:
    at = 0
    while (at := _behind_zeros(data, at)) < len(data):
        at = yield from _archived(data, at)


def _archived(data: bytes, at: int) -> Generator[Member, None, int]:
    """The members of one plain archive; returns where it ends."""
    for member, end in read(data, at):
        at = end
        if not is_trailer(member):
            yield member
    return at


def _behind_zeros(data: bytes, at: int) -> int:
    while at < len(data) and data[at] == 0:
        at += 1
    return at


def _unpacked(data: bytes, at: int) -> tuple[bytes, int]:
    """A compressed archive's content, and where the next one begins."""
    for magic, unpack in _FORMS:
        if data.startswith(magic, at):
            return unpack(data, at)
    if data.startswith(b"MZ", at):
        raise InitrdUnreadable("it is a program of UEFI, not an initrd")
    raise InitrdUnreadable(f"what stands at byte {at} is compressed in an unknown way")


def _gzip(data: bytes, at: int) -> tuple[bytes, int]:
    unpacker = zlib.decompressobj(wbits=31)
    found = unpacker.decompress(memoryview(data)[at:], MOST_BYTES)
    return _whole(found, eof=unpacker.eof), len(data) - len(unpacker.unused_data)


def _xz(data: bytes, at: int) -> tuple[bytes, int]:
    return _lzma(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_BYTES), data, at)


def _lzma_alone(data: bytes, at: int) -> tuple[bytes, int]:
    return _lzma(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=MOST_BYTES), data, at)


def _lzma(unpacker: lzma.LZMADecompressor, data: bytes, at: int) -> tuple[bytes, int]:
    found = unpacker.decompress(data[at:], MOST_BYTES)
    return _whole(found, eof=unpacker.eof), len(data) - len(unpacker.unused_data)


def _bzip2(data: bytes, at: int) -> tuple[bytes, int]:
    unpacker = bz2.BZ2Decompressor()
    found = unpacker.decompress(data[at:], MOST_BYTES)
    return _whole(found, eof=unpacker.eof), len(data) - len(unpacker.unused_data)


def _zstd(data: bytes, at: int) -> tuple[bytes, int]:
    """Fed in pieces, so that what does not end is noticed before it fills the memory."""
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    pieces, size = [], 0
    for begin in range(at, len(data), 1 << 16):
        pieces.append(unpacker.decompress(data[begin : begin + (1 << 16)]))
        size += len(pieces[-1])
        if size > MOST_BYTES:
            break
        if unpacker.eof:
            end = min(begin + (1 << 16), len(data)) - len(unpacker.unused_data)
            return b"".join(pieces), end
    return _whole(b"".join(pieces), eof=False), len(data)


def _lz4(data: bytes, at: int) -> tuple[bytes, int]:
    """The old form of lz4: blocks with their sizes before them, and no end mark."""
    end = at + 4
    while end + 4 <= len(data):
        size = int.from_bytes(data[end : end + 4], "little")
        if size == 0 or data[end : end + 6] in MAGICS:
            break
        end += 4 if data[end : end + 4] == _LZ4 else 4 + size
    return _lz4_unpacked(data[at : min(end, len(data))]), min(end, len(data))


def _lz4_unpacked(data: bytes) -> bytes:
    with tempfile.TemporaryFile() as packed, tempfile.TemporaryFile() as words:
        packed.write(data)
        packed.seek(0)
        command = [require_program("lz4"), "-dc", "-"]
        with subprocess.Popen(command, stdin=packed, stdout=subprocess.PIPE, stderr=words) as process:
            assert process.stdout is not None
            found = process.stdout.read(MOST_BYTES + 1)
            if len(found) > MOST_BYTES:
                process.kill()
        _whole(found, eof=len(found) <= MOST_BYTES)
        if process.returncode:
            words.seek(0)
            raise InitrdUnreadable(f"lz4: {words.read().decode(errors='replace').strip()}")
    return found


def _whole(found: bytes, *, eof: bool) -> bytes:
    if not eof:
        raise InitrdUnreadable(f"it is cut off, or unpacks to more than {MOST_BYTES} bytes")
    return found


_Unpack = Callable[[bytes, int], tuple[bytes, int]]
_FORMS: Final[tuple[tuple[bytes, _Unpack], ...]] = (
    (b"\x1f\x8b", _gzip),
    (b"\xfd7zXZ", _xz),
    (b"\x28\xb5\x2f\xfd", _zstd),
    (b"BZh", _bzip2),
    (b"\x5d\x00\x00", _lzma_alone),
    (_LZ4, _lz4),
)
