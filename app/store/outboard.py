"""Outboards: the inner nodes of a chunk's hash, by which a patched chunk gets its id from the patch alone.

BLAKE3 is a binary tree over pieces of 1 KiB. Of a chunk of n blocks of 4 KiB (n a power of two, at least 16)

outboard     the chaining values, 32 bytes each, of the nodes over its blocks in their order: 1/128 of it

The chunk's id follows from the outboard, and a block's node from its bytes and its number. So whoever has the
outboard of a base and the blocks that changed has the outboard and the id of the patched chunk: nothing of
the base is read, unpacked or hashed. An outboard proves itself: the id that it gives must be its chunk's.

Source: O'Connor, Aumasson, Neves, Wilcox-O'Hearn: BLAKE3, one function, fast everywhere (2020), section 2.
The name is that of the Bao format, which keeps such nodes beside a file. BLAKE3's own library for Python
offers no inner nodes, so they are computed by `outboard.c`, which is compiled where this package is built;
where it could not be, or was for another machine, `is_available` says so, and there are no outboards.
"""

import ctypes
from array import array
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

from blake3 import blake3

from app.kit.logging import get_logger
from app.wire.buffers import Buffer
from app.wire.chunks import BLOCK, ID_BYTES, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE
from app.wire.errors import PatchError
from app.wire.patch import Patch, patched_bytes

_log = get_logger("go2cloud.store")

_LIBRARY: Final = Path(__file__).with_name("liboutboard.so")
_WORTH: Final = 8


class _Functions(NamedTuple):
    """Those of outboard.c. `make` takes tens of microseconds and lets the interpreter's lock go; the others
    take less than it takes to have it back."""

    make: Callable[..., None]
    patch: Callable[..., None]
    root: Callable[..., None]
    lanes: Callable[[int], int]


@lru_cache(maxsize=1)
def _library() -> _Functions | None:
    """None where it was not compiled, or cannot be loaded, which the log tells once."""
    if not _LIBRARY.exists():
        return None
    try:
        free, short = ctypes.CDLL(str(_LIBRARY)), ctypes.PyDLL(str(_LIBRARY))
    except OSError as error:
        _log.warning("store.outboards_unavailable", detail=str(error))
        return None
    return _Functions(free.outboard_make, short.outboard_patch, short.outboard_root, short.outboard_lanes)


def use_lanes(most: int) -> int:
    """From now on compute with vectors of at most this many words, 16, 8 or 4; how many it is on this
    processor. Needs `is_available`."""
    library = _library()
    assert library is not None
    return library.lanes(most)


def is_available() -> bool:
    """Whether outboards can be computed here."""
    return _library() is not None


def outboard_bytes(raw_length: int) -> int:
    """How long the outboard of a chunk of this length is; 0 for a length that has none."""
    has_one = MIN_CHUNK_SIZE <= raw_length <= MAX_CHUNK_SIZE and raw_length & (raw_length - 1) == 0
    return raw_length // BLOCK * ID_BYTES if has_one else 0


def worthwhile(length: int, stored_length: int) -> int:
    """`length` of an outboard if it is kept beside a record of so many stored bytes, else 0: a record of less
    than eight times as much is read as fast itself."""
    return length if length * _WORTH <= stored_length else 0


def hashed(data: Buffer) -> tuple[bytes, bytes]:
    """The hash (32 bytes) of a chunk, and its outboard; an empty one where it can have none."""
    library, length = _library(), outboard_bytes(memoryview(data).nbytes)
    if library is None or not length:
        return blake3(data).digest(), b""
    outboard, name = bytearray(length), bytearray(ID_BYTES)
    library.make(_pointer(data), length // ID_BYTES, _pointer(outboard), _pointer(name))
    return bytes(name), bytes(outboard)


def is_of(outboard: Buffer, name: bytes) -> bool:
    """Whether this is the outboard of the chunk `name`; never without the library."""
    library, length = _library(), memoryview(outboard).nbytes
    if library is None or not length or length != outboard_bytes(length // ID_BYTES * BLOCK):
        return False
    found = bytearray(ID_BYTES)
    library.root(_pointer(outboard), length // ID_BYTES, _pointer(found))
    return found == name


def patched(outboard: Buffer, patch: Patch) -> tuple[bytes, bytes]:
    """The hash (32 bytes) and the outboard of the chunk that the patch makes of the one with this outboard.

    Needs `is_available`. Raises PatchError where the patch does not fit.
    """
    library, changed, name = _library(), bytearray(outboard), bytearray(ID_BYTES)
    assert library is not None
    count = len(changed) // ID_BYTES
    if patched_bytes(patch.extents, count * BLOCK) != memoryview(patch.data).nbytes:
        raise PatchError("a patch's data is not what its extents say")
    numbers = array("H", [first + at for first, blocks in patch.extents for at in range(blocks)])
    which = numbers.tobytes()
    library.patch(_pointer(patch.data), which, len(numbers), count, _pointer(changed), _pointer(name))
    return bytes(name), bytes(changed)


@lru_cache(maxsize=8)
def zeros_hash(raw_length: int) -> bytes:
    """The hash (32 bytes) of so many zeros."""
    return blake3(bytes(raw_length)).digest()


def _pointer(data: Buffer) -> bytes | ctypes.Array[ctypes.c_char]:
    """What ctypes passes on as the address of these bytes."""
    if isinstance(data, bytes):
        return data
    if isinstance(data, memoryview) and data.readonly:  # ctypes has no way to the address of these
        return bytes(data)
    return (ctypes.c_char * len(data)).from_buffer(data)
