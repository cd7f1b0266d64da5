"""The stream of `rbd export-diff` and `rbd import-diff`, format v1 (Ceph's doc/dev/rbd-diff.rst).

    "rbd diff v1\\n"
    'f' name   the snapshot that it begins at      'w' offset, length, bytes
    't' name   the snapshot that it ends at        'z' offset, length        zeros
    's' size   bytes of the image in the end       'e'                       the end

Numbers are little-endian: 64 bits, 32 for the length of a name.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol

from app.launch.errors import ToolFailed

BANNER: Final = b"rbd diff v1\n"
END: Final = b"e"
MOST_LENGTH: Final = 64 << 20
"""Bytes of one record: rbd reads object by object, and none of ours is larger than 4 MiB."""
_MOST_NAME: Final = 4096
_NAME: Final = struct.Struct("<I")
_SIZE: Final = struct.Struct("<Q")
_PLACE: Final = struct.Struct("<QQ")


class Source(Protocol):
    """Where a diff is read from."""

    def read(self, count: int, /) -> bytes:
        """So many bytes, fewer only at the end."""


@dataclass(frozen=True)
class Extent:
    """A place of an image: its bytes, or None for zeros."""

    at: int
    length: int
    data: bytes | None


def header(size: int, to: str, since: str | None = None) -> bytes:
    """The beginning of a diff that ends with an image of `size` bytes and its snapshot `to`."""
    start = b"f" + _named(since) if since is not None else b""
    return BANNER + start + b"t" + _named(to) + b"s" + _SIZE.pack(size)


def data_header(at: int, length: int) -> bytes:
    """What stands before `length` bytes for the offset `at`."""
    return b"w" + _PLACE.pack(at, length)


def zeros(at: int, length: int) -> bytes:
    """A range that is to read as zeros."""
    return b"z" + _PLACE.pack(at, length)


def _named(name: str) -> bytes:
    raw = name.encode()
    return _NAME.pack(len(raw)) + raw


def read_diff(source: Source, size: int) -> Iterator[Extent]:
    """The extents of a diff of an image that has `size` bytes in its end. Raises ToolFailed."""
    if _exactly(source, len(BANNER)) != BANNER:
        raise ToolFailed("what rbd gives is no diff of format v1")
    while (tag := _exactly(source, 1)) != END:
        if tag in (b"f", b"t"):
            _exactly(source, min(_MOST_NAME, *_NAME.unpack(_exactly(source, _NAME.size))))
        elif tag == b"s":
            (found,) = _SIZE.unpack(_exactly(source, _SIZE.size))
            if found != size:
                raise ToolFailed(f"the image has {found} bytes, not {size}", remedy="materialise it again")
        else:
            yield _extent(source, tag)


def _extent(source: Source, tag: bytes) -> Extent:
    at, length = _PLACE.unpack(_exactly(source, _PLACE.size))
    if tag == b"z":
        return Extent(at, length, None)
    if tag != b"w" or length > MOST_LENGTH:
        raise ToolFailed(f"the diff that rbd gives has a record {tag!r} of {length} bytes")
    return Extent(at, length, _exactly(source, length))


def _exactly(source: Source, count: int) -> bytes:
    found = source.read(count)
    if len(found) < count:
        raise ToolFailed("the diff that rbd gives was cut off")
    return found
