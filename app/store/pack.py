"""Packs: immutable objects of up to about 32 MiB that hold many chunks as they were sent.

    header    magic "G2CPACK1" | version u16 | project length u8 | server length u8 | 4 zero bytes
              | nonce 16 | project id | server id (ASCII)
    records   id 32 | codec u8 | depth u8 | 2 zero bytes | raw length u32 | stored length u32
              | base id 32 (only with codec DELTA) | stored bytes
    outboards of those records that have one, in their order (see `app.store.outboard`)
    footer    the header again, then for each record
              id 32 | base id 32 (zeros without) | offset of the stored bytes u64 | raw length u32
              | stored length u32 | codec u8 | depth u8 | length of its outboard in nodes of 32 bytes u16
    trailer   magic "G2CPEND1" | version u16 | 2 zero bytes | record count u32 | footer offset u64
              | footer length u64 | BLAKE3 of footer and of the trailer up to here, 32

Numbers are big-endian. A DELTA record's stored bytes are an encoded patch (see `app.wire.patch`) against the
chunk `base` of the same project; `depth` counts the patches down to a whole chunk, at most MAX_DEPTH.
Version 1, which is still read, had no outboards.

The pack's name is the BLAKE3 hash of all its bytes. The random nonce makes the same content put again a new
name, never that of a pack that is about to be deleted. The footer has a hash of its own, so that the index
can be trusted after two small reads, without the records.
"""

import secrets
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from app.store.backend import Range
from app.store.errors import ObjectDamaged
from app.store.outboard import outboard_bytes, worthwhile
from app.wire.buffers import Buffer
from app.wire.chunks import ID_BYTES, MAX_CHUNK_SIZE, MIB, ZERO_ID
from app.wire.codec import Codec

TARGET_BYTES: Final = 16 * MIB
MAX_RECORD_BYTES: Final = MAX_CHUNK_SIZE + 64 * 1024
MAX_PACK_BYTES: Final = 48 * MIB
MAX_RECORDS: Final = 1 << 16
MAX_DEPTH: Final = 8

HEADER: Final = struct.Struct("!8sHBB4x16s")
RECORD: Final = struct.Struct("!32sBB2xII")
ENTRY: Final = struct.Struct("!32s32sQIIBBH")
TRAILER: Final = struct.Struct("!8sH2xIQQ32s")
MAGIC: Final = b"G2CPACK1"
END_MAGIC: Final = b"G2CPEND1"
VERSION: Final = 2
_READABLE: Final = (1, VERSION)
_HASH_BYTES: Final = 32
_SMALL_BYTES: Final = 16 * 1024


@dataclass(frozen=True)
class PackOwner:
    """Whose chunks a pack holds; `nonce` (16 bytes) makes its name its own."""

    project: str
    server: str
    nonce: bytes

    def encode(self) -> bytes:
        """The header's bytes. Raises ValueError for ids that are not ASCII or longer than 255."""
        project, server = self.project.encode("ascii"), self.server.encode("ascii")
        if not 0 < len(project) < 256 or not 0 < len(server) < 256:
            raise ValueError("a pack needs a project and a server of at most 255 characters each")
        return HEADER.pack(MAGIC, VERSION, len(project), len(server), self.nonce) + project + server


@dataclass(frozen=True)
class PackEntry:
    """Where a record's stored bytes lie in its pack; lengths and offset in bytes."""

    id: bytes
    offset: int
    stored_length: int
    raw_length: int
    codec: Codec
    base: bytes | None = None
    depth: int = 0
    nodes: int = 0
    """Of its outboard; 0 where it has none."""

    @property
    def end(self) -> int:
        """The offset behind the stored bytes."""
        return self.offset + self.stored_length

    @property
    def start(self) -> int:
        """The offset of the record, its own header included."""
        return self.offset - RECORD.size - (ID_BYTES if self.base is not None else 0)

    def record_header(self) -> bytes:
        """What stands before the stored bytes."""
        head = RECORD.pack(self.id, self.codec, self.depth, self.raw_length, self.stored_length)
        return head if self.base is None else head + self.base

    def encode(self) -> bytes:
        """The entry of the footer."""
        lengths = (self.offset, self.raw_length, self.stored_length, self.codec, self.depth, self.nodes)
        return ENTRY.pack(self.id, self.base or ZERO_ID, *lengths)


@dataclass(frozen=True)
class SealedPack:
    """A finished pack: `parts` are its bytes in order, not joined."""

    name: bytes
    owner: PackOwner
    parts: tuple[Buffer, ...]
    entries: tuple[PackEntry, ...]
    size: int

    @property
    def raw_bytes(self) -> int:
        """Plain length of all its chunks."""
        return sum(entry.raw_length for entry in self.entries)


@dataclass(frozen=True)
class PackIndex:
    """What a pack's footer says; `records_end` is where the records stop and the outboards begin."""

    owner: PackOwner
    entries: tuple[PackEntry, ...]
    records_end: int

    def outboards(self) -> Iterator[tuple[bytes, Range]]:
        """The ids of the chunks that have an outboard here, each with (offset, length) of it in the pack."""
        at = self.records_end
        for entry in self.entries:
            if entry.nodes:
                yield entry.id, (at, entry.nodes * ID_BYTES)
                at += entry.nodes * ID_BYTES


@dataclass(frozen=True)
class PackTrailer:
    """Where the footer lies."""

    count: int
    offset: int
    length: int
    digest: bytes


class PackBuilder:
    """Collects records of one server until it `is_full`; keeps the buffers, copies nothing."""

    def __init__(self, project: str, server: str, target: int = TARGET_BYTES) -> None:
        """Start an empty pack that counts as full from `target` bytes (at most 32 MiB)."""
        self.owner = PackOwner(project, server, secrets.token_bytes(16))
        self._target = min(target, 32 * MIB)
        header = self.owner.encode()
        self._parts: list[Buffer] = [header]
        self._entries: list[PackEntry] = []
        self._outboards: list[bytes] = []
        self._records_end = len(header)
        self.size = len(header)
        """Bytes of header, records and outboards."""

    @property
    def is_full(self) -> bool:
        """Whether the pack should be sealed now."""
        return self.size >= self._target or len(self._entries) >= MAX_RECORDS

    @property
    def is_empty(self) -> bool:
        """Whether nothing was added yet."""
        return not self._entries

    def add(
        self,
        name: bytes,
        codec: Codec,
        raw_length: int,
        data: Buffer,
        base: bytes | None = None,
        depth: int = 0,
        outboard: bytes = b"",
    ) -> PackEntry:
        """Append one record; `data` must not change until the pack is written. The chunk's outboard is kept
        if it is worth its room.

        Raises ValueError for a record that could not be read again: bad lengths, a DELTA without base or of a
        depth outside 1 … MAX_DEPTH, or any record once the pack is full.
        """
        stored = memoryview(data).nbytes
        header_length = RECORD.size + (0 if base is None else ID_BYTES)
        kept = outboard if base is None and worthwhile(len(outboard), stored) else b""
        offset, nodes = self._records_end + header_length, len(kept) // ID_BYTES
        entry = PackEntry(name, offset, stored, raw_length, codec, base, depth, nodes)
        fault = entry_fault(entry)
        if fault or self.is_full:
            raise ValueError(f"a record cannot be added to a pack: {fault or 'it is full'}")
        self._parts += (entry.record_header(), data)
        self._entries.append(entry)
        self._outboards.append(kept)
        self.size += entry.end - self._records_end + len(kept)
        self._records_end = entry.end
        return entry

    def seal(self) -> SealedPack:
        """Close the pack. Hashes all of it: about 0.25 CPU seconds a GiB, without the interpreter's lock."""
        footer = self.owner.encode() + b"".join(entry.encode() for entry in self._entries)
        bounds = (len(self._entries), self.size, len(footer))
        head = TRAILER.pack(END_MAGIC, VERSION, *bounds, bytes(_HASH_BYTES))[:-_HASH_BYTES]
        trailer = head + blake3(footer + head).digest()
        parts = (*self._parts, b"".join(self._outboards), footer, trailer)
        size = self.size + len(footer) + len(trailer)
        return SealedPack(_hash(parts), self.owner, parts, tuple(self._entries), size)


def _hash(parts: Iterable[Buffer]) -> bytes:
    """BLAKE3 of the parts in their order. Small ones are joined: for each of some thousands the interpreter's
    lock would be given away and waited for again."""
    hasher, small = blake3(), bytearray()
    for part in parts:
        if memoryview(part).nbytes < _SMALL_BYTES and len(small) < MIB:
            small += part
        else:
            hasher.update(small).update(part)
            small.clear()
    return hasher.update(small).digest()


def entry_fault(entry: PackEntry) -> str | None:
    """What makes a record impossible, in words; None for a good one."""
    if len(entry.id) != ID_BYTES or entry.id == ZERO_ID:
        return "its id is none"
    if not 0 < entry.raw_length <= MAX_CHUNK_SIZE:
        return f"its raw length {entry.raw_length} is outside the limits"
    if not 0 < entry.stored_length <= MAX_RECORD_BYTES:
        return f"its stored length {entry.stored_length} is outside the limits"
    if entry.codec is Codec.NONE and entry.stored_length != entry.raw_length:
        return "its lengths differ without compression"
    if entry.codec is Codec.ZSTD and entry.stored_length > entry.raw_length:
        return "its compressed form is longer than its plain one"
    if entry.nodes and entry.nodes * ID_BYTES != outboard_bytes(entry.raw_length):
        return f"its outboard of {entry.nodes} nodes does not fit its length"
    return _delta_fault(entry)


def _delta_fault(entry: PackEntry) -> str | None:
    if entry.codec is not Codec.DELTA:
        return "it has a base and is no patch" if entry.base is not None or entry.depth else None
    if entry.nodes:
        return "it is a patch and has an outboard"
    if entry.base is None or len(entry.base) != ID_BYTES or entry.base in (ZERO_ID, entry.id):
        return "it is a patch without a base"
    if not 1 <= entry.depth <= MAX_DEPTH:
        return f"its chain of {entry.depth} patches is outside the limits"
    return None


def parse_trailer(data: Buffer, size: int) -> PackTrailer:
    """The trailer of a pack of `size` bytes from its last TRAILER.size bytes. Raises ObjectDamaged."""
    if len(data) != TRAILER.size or not TRAILER.size < size <= MAX_PACK_BYTES:
        raise ObjectDamaged(f"a pack of {size} bytes is cut off or too large")
    magic, version, count, offset, length, digest = TRAILER.unpack(data)
    if magic != END_MAGIC or version not in _READABLE:
        raise ObjectDamaged("a pack does not end with a trailer of a known version")
    least = HEADER.size + count * ENTRY.size
    if count > MAX_RECORDS or offset + length + TRAILER.size != size or not least < length < least + 512:
        raise ObjectDamaged("a pack's trailer points outside the pack")
    return PackTrailer(count, offset, length, digest)


def parse_footer(data: Buffer, tail: Buffer) -> PackIndex:
    """The index from a footer's bytes and the trailer's bytes `tail`. Raises ObjectDamaged."""
    raw, count = bytes(data), int(TRAILER.unpack(tail)[2])
    head = bytes(tail)[:-_HASH_BYTES]
    if blake3(raw + head).digest() != bytes(tail)[-_HASH_BYTES:]:
        raise ObjectDamaged("a pack's footer does not hash to what its trailer says")
    owner, used = parse_header(raw)
    if len(raw) != used + count * ENTRY.size:
        raise ObjectDamaged("a pack's footer has another length than its trailer says")
    offset = int(TRAILER.unpack(tail)[3])
    entries = tuple(_parse_entry(fields) for fields in ENTRY.iter_unpack(raw[used:]))
    records_end = offset - sum(entry.nodes for entry in entries) * ID_BYTES
    _require_adjacent(entries, used, records_end)
    return PackIndex(owner, entries, records_end)


def parse_header(data: Buffer) -> tuple[PackOwner, int]:
    """The owner from the start of a pack or footer, and the bytes it takes. Raises ObjectDamaged."""
    raw = bytes(memoryview(data)[: HEADER.size + 510])
    if len(raw) < HEADER.size:
        raise ObjectDamaged("a pack's header is cut off")
    magic, version, project_length, server_length, nonce = HEADER.unpack_from(raw)
    if magic != MAGIC or version not in _READABLE or raw[12:16] != bytes(4):
        raise ObjectDamaged("this is not a pack of a known version")
    middle, end = HEADER.size + project_length, HEADER.size + project_length + server_length
    if not project_length or not server_length or len(raw) < end:
        raise ObjectDamaged("a pack's header is cut off")
    try:
        project, server = raw[HEADER.size : middle].decode("ascii"), raw[middle:end].decode("ascii")
    except UnicodeDecodeError as error:
        raise ObjectDamaged("a pack's header names no project and server") from error
    return PackOwner(project, server, nonce), end


def _parse_entry(fields: tuple[bytes, bytes, int, int, int, int, int, int]) -> PackEntry:
    name, base, offset, raw_length, stored_length, code, depth, nodes = fields
    if code not in (Codec.NONE, Codec.ZSTD, Codec.DELTA):
        raise ObjectDamaged(f"a pack's record has the unknown codec {code}")
    found = None if base == ZERO_ID else base
    entry = PackEntry(name, offset, stored_length, raw_length, Codec(code), found, depth, nodes)
    fault = entry_fault(entry)
    if fault:
        raise ObjectDamaged(f"a pack's record is impossible: {fault}")
    return entry


def _require_adjacent(entries: tuple[PackEntry, ...], start: int, end: int) -> None:
    for entry in entries:
        if entry.start != start:
            raise ObjectDamaged("a pack's records do not lie one after the other")
        start = entry.end
    if start != end:
        raise ObjectDamaged("a pack's records and outboards do not end where its footer begins")
