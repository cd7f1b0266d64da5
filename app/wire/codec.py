"""How a chunk's bytes are packed: as they are, or as one zstd frame that states its content size.

Decompression is bounded: the declared size is compared with the record's before anything is allocated,
because the library's own output limit is ignored when a frame carries a size.
"""

import threading
from enum import IntEnum
from typing import Final

import zstandard

from app.wire.buffers import Buffer
from app.wire.errors import CodecError

FAST_LEVEL: Final = 1
_LEAST_GAIN: Final = 0.05


class Codec(IntEnum):
    """Codec byte of a record."""

    NONE = 0
    ZSTD = 1
    DELTA = 2
    """A patch against a base chunk; only in packs, never on the wire."""


class _Threads(threading.local):
    """zstd contexts are not shared between threads."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_threads = _Threads()


def _compressor(level: int) -> zstandard.ZstdCompressor:
    found = _threads.compressors.get(level)
    if found is None:
        found = zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)
        _threads.compressors[level] = found
    return found


def encode(data: Buffer, level: int = FAST_LEVEL) -> tuple[Codec, Buffer]:
    """Compress with zstd; bytes that shrink by less than 5 % are returned as they are."""
    packed = _compressor(level).compress(data)
    length = memoryview(data).nbytes
    if len(packed) > length * (1 - _LEAST_GAIN):
        return Codec.NONE, data
    return Codec.ZSTD, packed


def decode(codec: int, data: Buffer, raw_length: int) -> Buffer:
    """The plain bytes of a record, exactly `raw_length` of them.

    Not compressed bytes are returned as they came, without a copy. Raises CodecError for an unknown codec, a
    frame that declares another size, damaged bytes, or anything behind the frame.
    """
    if codec == Codec.NONE:
        plain: Buffer = data
    elif codec == Codec.ZSTD:
        plain = _decompress(data, raw_length)
    else:
        raise CodecError(f"codec {codec} is unknown")
    if memoryview(plain).nbytes != raw_length:
        raise CodecError(f"a record declares {raw_length} bytes and holds {memoryview(plain).nbytes}")
    return plain


def _decompress(data: Buffer, raw_length: int) -> bytes:
    try:
        declared = zstandard.frame_content_size(data)
        if declared != raw_length:
            raise CodecError(f"a zstd frame declares {declared} bytes where the record says {raw_length}")
        return _threads.decompressor.decompress(data, max_output_size=raw_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CodecError(f"a zstd frame is damaged: {error}") from error
