"""Small changes of big chunks: a patch lists the 4 KiB blocks of a base chunk that changed.

signatures   8-byte XXH3-64 (big-endian) of each 4 KiB block, the last block may be short. They only say
             where to look: the rebuilt chunk's own id is always checked, so a collision costs a resend.
extents      (first block, block count), ascending and not overlapping; the data holds those blocks' new
             bytes, the last one of a chunk perhaps a short one. `make_patch` joins extents that touch.
encoded      extent count u16, then per extent first block u16 and count u16, then the data.
digest       names a patch whose new chunk the sender does not know: BLAKE3 in key derivation mode (context
             BLOCKS_CONTEXT) of base id, length of the chunk u32 and the encoded patch, big-endian.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from blake3 import blake3
from xxhash import xxh3_64_digest

from app.wire.buffers import Buffer
from app.wire.chunks import BLOCK
from app.wire.errors import PatchError

SIGNATURE_BYTES: Final = 8
BLOCKS_CONTEXT: Final = "go2cloud wire 1 blocks"
_COUNT: Final = struct.Struct("!H")
_EXTENT: Final = struct.Struct("!HH")
_LENGTH: Final = struct.Struct("!I")

Extent = tuple[int, int]


def signatures(data: Buffer) -> bytes:
    """The signatures of a chunk's blocks, 8 bytes each."""
    view = memoryview(data)
    return b"".join(xxh3_64_digest(view[at : at + BLOCK]) for at in range(0, view.nbytes, BLOCK))


@dataclass(frozen=True)
class Patch:
    """The changed blocks of a chunk against a base of the same length."""

    extents: tuple[Extent, ...]
    data: Buffer

    def encode(self) -> bytes:
        """The stored form; see the module's caption."""
        return encode_extents(self.extents) + bytes(self.data)

    @property
    def encoded_length(self) -> int:
        """Bytes of the stored form."""
        return _COUNT.size + len(self.extents) * _EXTENT.size + memoryview(self.data).nbytes

    @classmethod
    def decode(cls, data: Buffer) -> Self:
        """Parse a stored patch. Raises PatchError."""
        extents, used = decode_extents(data)
        return cls(extents, memoryview(data)[used:])


def blocks_digest(base: bytes, raw_length: int, patch: Patch) -> bytes:
    """The digest (32 bytes) of a patch on the chunk `base` (id) of `raw_length` bytes."""
    digest = blake3(base + _LENGTH.pack(raw_length), derive_key_context=BLOCKS_CONTEXT)
    return digest.update(encode_extents(patch.extents)).update(patch.data).digest()


def encode_extents(extents: tuple[Extent, ...]) -> bytes:
    """Extent table as bytes."""
    return _COUNT.pack(len(extents)) + b"".join(_EXTENT.pack(*extent) for extent in extents)


def decode_extents(data: Buffer) -> tuple[tuple[Extent, ...], int]:
    """Parse an extent table: the extents and the bytes it took. Raises PatchError."""
    view = memoryview(data)
    if view.nbytes < _COUNT.size:
        raise PatchError("a patch is cut off")
    (count,) = _COUNT.unpack_from(view)
    end = _COUNT.size + count * _EXTENT.size
    if view.nbytes < end:
        raise PatchError("a patch's extent table is cut off")
    return tuple(_EXTENT.iter_unpack(view[_COUNT.size : end])), end


def changed_extents(data: Buffer, base_signatures: bytes) -> tuple[Extent, ...]:
    """Where the blocks of `data` differ from the base, as extents."""
    fresh = signatures(data)
    places = range(0, len(fresh), SIGNATURE_BYTES)
    changed = (
        at for at in places if fresh[at : at + SIGNATURE_BYTES] != base_signatures[at : at + SIGNATURE_BYTES]
    )
    return extents_of(at // SIGNATURE_BYTES for at in changed)


def extents_of(blocks: Iterable[int]) -> tuple[Extent, ...]:
    """Ascending numbers of blocks as extents."""
    extents: list[Extent] = []
    for block in blocks:
        if extents and sum(extents[-1]) == block:
            extents[-1] = (extents[-1][0], extents[-1][1] + 1)
        else:
            extents.append((block, 1))
    return tuple(extents)


def merged(patches: Iterable[Patch]) -> Patch:
    """The one patch that does what these do one after the other, all of them of whole blocks."""
    blocks: dict[int, memoryview] = {}
    for patch in patches:
        data, at = memoryview(patch.data), 0
        for first, count in patch.extents:
            for block in range(first, first + count):
                blocks[block] = data[at : at + BLOCK]
                at += BLOCK
    numbers = sorted(blocks)
    return Patch(extents_of(numbers), b"".join(blocks[block] for block in numbers))


def make_patch(data: Buffer, base_signatures: bytes, most: float = 0.5) -> Patch | None:
    """A patch that turns the base with these signatures into `data`.

    None where the base has another length in blocks, or where more than the share `most` of the blocks
    changed and sending the chunk whole is the better deal.
    """
    view = memoryview(data)
    blocks = -(-view.nbytes // BLOCK)
    if len(base_signatures) != blocks * SIGNATURE_BYTES:
        return None
    extents = changed_extents(view, base_signatures)
    return patch_of(view, extents, most)


def patch_of(data: Buffer, extents: tuple[Extent, ...], most: float = 0.5) -> Patch | None:
    """The patch of these extents of `data`; None where they are more than the share `most` of its blocks."""
    view = memoryview(data)
    if sum(count for _, count in extents) > -(-view.nbytes // BLOCK) * most:
        return None
    parts = [view[first * BLOCK : (first + count) * BLOCK] for first, count in extents]
    return Patch(extents, b"".join(parts))


def apply_patch(base: Buffer, patch: Patch, raw_length: int) -> bytes:
    """The patched chunk of `raw_length` bytes. Raises PatchError when patch and base do not fit."""
    return bytes(patched_copy(base, patch, raw_length))


def patched_copy(base: Buffer, patch: Patch, raw_length: int) -> bytearray:
    """The same, copied once and not twice."""
    result = bytearray(base)
    if len(result) != raw_length:
        raise PatchError(f"the base has {len(result)} bytes, the patched chunk {raw_length}")
    data, at = memoryview(patch.data), 0
    for start, end in _spans(patch.extents, raw_length):
        result[start:end] = data[at : at + end - start]
        at += end - start
        if at > data.nbytes:
            raise PatchError("a patch's data is cut off")
    if at != data.nbytes or len(result) != raw_length:
        raise PatchError("a patch's data is longer than its extents")
    return result


def patched_bytes(extents: tuple[Extent, ...], raw_length: int) -> int:
    """Bytes of data that a patch with these extents carries. Raises PatchError for bad extents."""
    return sum(end - start for start, end in _spans(extents, raw_length))


def _spans(extents: tuple[Extent, ...], raw_length: int) -> Iterator[tuple[int, int]]:
    last = 0
    for first, count in extents:
        start = first * BLOCK
        end = min(start + count * BLOCK, raw_length)
        if (
            start < last
            or count == 0
            or start >= raw_length
            or first * BLOCK + (count - 1) * BLOCK >= raw_length
        ):
            raise PatchError(f"a patch's extent ({first}, {count}) is out of order or outside the chunk")
        yield start, end
        last = end
