"""All that reads bytes from outside or from a medium, as functions of bytes, with the errors it may raise.

Each parser comes with good samples, from which a fuzzer starts. Where a hash would refuse every change at
once, a second parser puts the right hash on what it is given: what lies behind the hash is fuzzed too.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from blake3 import blake3

from app.store.checkpointfile import CheckpointDisk, CheckpointFile, CheckpointName, TrackerEvidence
from app.store.errors import ObjectDamaged
from app.store.layout import parse_pack_key
from app.store.outboard import hashed
from app.store.pack import (
    END_MAGIC,
    ENTRY,
    TRAILER,
    VERSION,
    PackBuilder,
    parse_footer,
    parse_header,
    parse_trailer,
)
from app.store.packcheck import examine
from app.wire import jsonform, messages
from app.wire.chunks import BLOCK, CHUNK_SIZE, ID_BYTES, KIB, MIN_CHUNK_SIZE, chunk_id
from app.wire.codec import Codec, decode, encode
from app.wire.errors import WireError
from app.wire.frames import (
    BlocksRecord,
    ChunkRecord,
    Frame,
    FrameReader,
    FrameType,
    LeafPatchRecord,
    PatchRecord,
    ProofRecord,
    chunk_records,
    encode_blocks,
    encode_chunks,
    encode_end,
    encode_leaf_patches,
    encode_leaves,
    encode_patches,
    encode_proofs,
    encode_root,
    leaf_patch_records,
    leaves_of,
    patch_records,
    proof_records,
)
from app.wire.patch import Patch, apply_patch, make_patch, signatures
from app.wire.tree import LEAF_BYTES, LEAF_IDS, RootNode, changed_leaf, leaf_hash

_SOURCE = random.Random("hostile parsers")
_PLAIN = _SOURCE.randbytes(2 * BLOCK) + bytes(2 * BLOCK)
_LARGE = _SOURCE.randbytes(MIN_CHUNK_SIZE)
_CHANGED = _SOURCE.randbytes(BLOCK) + _PLAIN[BLOCK:]


@dataclass(frozen=True)
class Parser:
    """`parse` reads bytes to their end, and raises one of `errors` for bad ones; `samples` are good."""

    name: str
    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    samples: tuple[bytes, ...]

    def __str__(self) -> str:
        return self.name

    def accepts(self, data: bytes) -> bool:
        """Whether the bytes are good; any other error than the named ones comes through."""
        try:
            self.parse(data)
        except self.errors:
            return False
        return True


def _records(frame: Frame) -> object:
    match frame.type:
        case FrameType.CHUNKS:
            return [decode(each.codec, each.data, each.raw_length) for each in chunk_records(frame)]
        case FrameType.PATCHES | FrameType.BLOCKS:
            return [_patched(record) for record in patch_records(frame)]
        case FrameType.LEAVES:
            return leaves_of(frame)
        case FrameType.PROOFS:
            return proof_records(frame)
        case FrameType.LEAF_PATCHES:
            built = [changed_leaf(bytes(LEAF_BYTES), each.changes) for each in leaf_patch_records(frame)]
            return [leaf_hash(leaf) for leaf in built]
        case FrameType.ROOT:
            return RootNode.decode(frame.payload).hash
        case FrameType.END:
            return None


def _patched(record: PatchRecord) -> bytes:
    data = decode(record.codec, record.data, record.patch_length)
    return apply_patch(_PLAIN, Patch(record.extents, data), record.raw_length)


def _frames(data: bytes) -> None:
    reader = FrameReader()
    middle = len(data) // 2
    for piece in (data[:middle], data[middle:]):
        for frame in reader.feed(piece):
            _records(frame)
    reader.finish()


def _stored_patch(data: bytes) -> bytes:
    return apply_patch(_PLAIN, Patch.decode(data), len(_PLAIN))


def _zstd(data: bytes) -> object:
    return decode(Codec.ZSTD, data, len(_PLAIN))


def _whole_pack(data: bytes) -> None:
    found = examine(blake3(data).digest(), data)
    if found.fault:
        raise ObjectDamaged(found.fault)


def _sealed_footer(data: bytes) -> None:
    """The bytes as a footer, with a trailer that is right about it."""
    used = parse_header(data)[1]
    count, rest = divmod(len(data) - used, ENTRY.size)
    if rest:
        raise ObjectDamaged("a trailer could not be right about this")
    entries = list(ENTRY.iter_unpack(data[used:])) or [(b"", b"", used, 0, 0, 0, 0, 0)]
    outboards = sum(entry[-1] for entry in entries) * ID_BYTES
    behind = min(entries[-1][2] + entries[-1][4] + outboards, (1 << 64) - 1)
    head = TRAILER.pack(END_MAGIC, VERSION, count, behind, len(data), bytes(32))[:-32]
    parse_footer(data, head + blake3(data + head).digest())


def _trailer(data: bytes) -> None:
    """The bytes as the trailer of a pack that is as long as it says."""
    tail = data.ljust(TRAILER.size, b"\0")[: TRAILER.size]
    _, _, _, offset, length, _ = TRAILER.unpack(tail)
    parse_trailer(tail, offset + length + TRAILER.size)


def _checkpoint(data: bytes) -> None:
    CheckpointFile.decode(data, _FILE.name)


def _sealed_checkpoint(data: bytes) -> None:
    """The bytes as a checkpoint file's content, with a checksum that is right about it."""
    checksum = blake3(data).hexdigest().encode()
    CheckpointFile.decode(b'{"format":1,"checksum":"' + checksum + b'","content":' + data + b"}", _FILE.name)


def _names(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    CheckpointName.parse(text)
    parse_pack_key(text)


def _message(data: bytes) -> object:
    """The first byte picks the kind of message that the rest is taken for."""
    return jsonform.decode(_KINDS[(data[0] if data else 0) % len(_KINDS)], data[1:])


def _joined(*frames: Sequence[bytes | bytearray | memoryview]) -> bytes:
    return b"".join(bytes(part) for parts in frames for part in parts)


def _patch_record() -> PatchRecord:
    patch = _patch()
    codec, packed = encode(patch.data)
    length = memoryview(patch.data).nbytes
    return PatchRecord(
        chunk_id(_CHANGED), chunk_id(_PLAIN), len(_PLAIN), patch.extents, codec, length, packed
    )


def _patch() -> Patch:
    patch = make_patch(_CHANGED, signatures(_PLAIN))
    assert patch is not None
    return patch


def _stream() -> bytes:
    records = [ChunkRecord(chunk_id(plain), *_packed(plain)) for plain in (_PLAIN, _CHANGED[:BLOCK])]
    return _joined(
        encode_root(RootNode.empty(3 * CHUNK_SIZE, CHUNK_SIZE).encode()),
        encode_leaves([bytes(LEAF_BYTES)]),
        encode_chunks(records),
        encode_patches([_patch_record()]),
        encode_blocks([BlocksRecord(**vars(_patch_record()))]),
        encode_proofs([ProofRecord(bytes(32), bytes(32))]),
        encode_leaf_patches([_leaf_patch(0, 5), _leaf_patch(LEAF_IDS - 1)]),
        encode_end(),
    )


def _leaf_patch(*indexes: int) -> LeafPatchRecord:
    changes = tuple((index, chunk_id(_PLAIN)) for index in indexes)
    return LeafPatchRecord(bytes(32), leaf_hash(changed_leaf(bytes(LEAF_BYTES), changes)), changes)


def _packed(plain: bytes) -> tuple[Codec, int, bytes]:
    codec, data = encode(plain)
    return codec, len(plain), bytes(data)


def _pack() -> bytes:
    builder = PackBuilder("prj-one", "srv-one")
    for plain in (_PLAIN, _CHANGED[:BLOCK], _LARGE):
        builder.add(chunk_id(plain), *_packed(plain), outboard=hashed(plain)[1])
    builder.add(chunk_id(_CHANGED), Codec.DELTA, len(_CHANGED), _patch().encode(), chunk_id(_PLAIN), 1)
    return _joined(builder.seal().parts)


def _footer() -> bytes:
    pack = _pack()
    trailer = parse_trailer(pack[-TRAILER.size :], len(pack))
    return pack[trailer.offset : trailer.offset + trailer.length]


_FILE = CheckpointFile(
    "prj-one",
    "one",
    "srv-one",
    "web",
    7,
    "chk-seven",
    "chk-six",
    3,
    "quiet",
    "2026-01-02T03:04:05+00:00",
    "2026-01-02T03:04:06+00:00",
    TrackerEvidence("rescan", "boot-1"),
    (CheckpointDisk("dsk-one", "key", "/dev/sda", 8, 4, 512, 65536, "", "ab" * 32, "quiet", ((0, 4096),)),),
)
_KINDS = tuple(
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and is_dataclass(kind) and kind.__module__ == messages.__name__
)


def _sample(number: int) -> bytes:
    """A message of a kind, with a value in every field."""
    return bytes([number]) + jsonform.encode(_made(_KINDS[number]))


def _made(kind: Any) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{item.name: _value(hints[item.name]) for item in fields(kind)})


def _value(kind: Any) -> Any:
    """A good value of a declared type."""
    arguments = get_args(kind)
    if get_origin(kind) is Annotated:
        lengths = [limit.length for limit in arguments[1:] if isinstance(limit, jsonform.Hex)]
        return "ab" * lengths[0] if lengths else _value(arguments[0])
    if get_origin(kind) in (Union, UnionType):
        return _value(next(member for member in arguments if member is not NoneType))
    if get_origin(kind) is tuple:
        members = arguments[:1] if arguments[-1] is Ellipsis else arguments
        return tuple(map(_value, members))
    return _made(kind) if is_dataclass(kind) else {int: 512, str: "text", bool: True}[kind]


PARSERS = (
    Parser("frames", _frames, (WireError,), (_stream(),)),
    Parser("stored patches", _stored_patch, (WireError,), (_patch().encode(),)),
    Parser("zstd frames", _zstd, (WireError,), (bytes(encode(_PLAIN)[1]),)),
    Parser("packs", _whole_pack, (ObjectDamaged,), (_pack(),)),
    Parser("pack footers behind their hash", _sealed_footer, (ObjectDamaged,), (_footer(),)),
    Parser("pack trailers", _trailer, (ObjectDamaged,), (_pack()[-TRAILER.size :],)),
    Parser(
        "root nodes",
        lambda data: RootNode.decode(data).hash,
        (WireError,),
        (RootNode.empty(2000 * CHUNK_SIZE, CHUNK_SIZE).encode(), RootNode.empty(0, 64 * KIB).encode()),
    ),
    Parser("checkpoint files", _checkpoint, (ObjectDamaged,), (_FILE.encode(),)),
    Parser(
        "checkpoint files behind their checksum",
        _sealed_checkpoint,
        (ObjectDamaged,),
        (jsonform.encode(_FILE),),
    ),
    Parser("object names", _names, (), (_FILE.name.key.encode(), b"packs/aa/" + b"aa" * 32)),
    Parser("messages", _message, (WireError,), tuple(map(_sample, range(len(_KINDS))))),
)
