"""Looking at every byte of a pack: what is wrong with it, and which chunks that concerns."""

from dataclasses import dataclass

from blake3 import blake3

from app.store.errors import ObjectDamaged
from app.store.outboard import is_available, is_of
from app.store.pack import TRAILER, PackEntry, PackIndex, parse_footer, parse_header, parse_trailer
from app.wire.buffers import Buffer
from app.wire.chunks import chunk_id, is_zero
from app.wire.codec import Codec, decode
from app.wire.errors import WireError


@dataclass(frozen=True)
class PackExamination:
    """What a whole reading found.

    `index` is None where the footer cannot be trusted: then every chunk of the pack counts as damaged.
    `fault` says in words what is wrong, None for a good pack. `damaged` are ids whose bytes are bad, or, for
    a delta in a pack that does not hash to its name, cannot be told from bad ones.
    """

    index: PackIndex | None
    fault: str | None
    damaged: frozenset[bytes]


def examine(name: bytes, data: Buffer) -> PackExamination:
    """Examine the bytes of the pack `name`."""
    view = memoryview(data)
    is_exact = blake3(view).digest() == name
    try:
        index = parse_pack(view)
    except ObjectDamaged as error:
        return PackExamination(None, str(error), frozenset())
    damaged = frozenset(entry.id for entry in index.entries if not _is_good(entry, view, exact=is_exact))
    if damaged:
        return PackExamination(index, f"{len(damaged)} chunks do not hash to their ids", damaged)
    return PackExamination(index, None if is_exact else _other_fault(index, view), damaged)


def _other_fault(index: PackIndex, view: memoryview) -> str:
    """What is wrong with a pack of which every chunk is good."""
    outboards = {name: view[at : at + length] for name, (at, length) in index.outboards()}
    if is_available() and (wrong := [name for name in outboards if not is_of(outboards[name], name)]):
        return (
            f"outboards are not those of their chunks, which are good: {len(wrong)}, first {wrong[0].hex()}"
        )
    return "it does not hash to its name"


def parse_pack(data: Buffer) -> PackIndex:
    """The index of a whole pack in memory. Raises ObjectDamaged."""
    view = memoryview(data)
    tail = view[-TRAILER.size :]
    trailer = parse_trailer(tail, view.nbytes)
    index = parse_footer(view[trailer.offset : trailer.offset + trailer.length], tail)
    owner, used = parse_header(view)
    if owner != index.owner:
        raise ObjectDamaged("a pack's header and footer name different owners")
    starts = [entry.start for entry in index.entries]
    if starts and starts[0] != used:
        raise ObjectDamaged("a pack's first record does not follow its header")
    return index


def _is_good(entry: PackEntry, view: memoryview, *, exact: bool) -> bool:
    """Whether the record at `entry` is what the footer says and its bytes hash to its id."""
    if view[entry.start : entry.offset] != entry.record_header():
        return False
    if entry.codec is Codec.DELTA:
        return exact
    try:
        plain = decode(entry.codec, view[entry.offset : entry.end], entry.raw_length)
    except WireError:
        return False
    return not is_zero(plain) and chunk_id(plain) == entry.id
