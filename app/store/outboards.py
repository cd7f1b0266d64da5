"""Outboards of chunks as they are kept: the one that lies beside the whole record at the bottom, and what the
patches over it make of it.

Of a chain nothing is read but its patches. What is handed out has proved itself by the chunk's id.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from app.store.errors import ObjectDamaged, ObjectMissing
from app.store.index import Location
from app.store.layers import Layers, read_stored
from app.store.objects import ObjectStore
from app.store.outboard import is_available, is_of, patched
from app.store.spans import Placed
from app.wire.buffers import Buffer
from app.wire.codec import Codec
from app.wire.errors import WireError
from app.wire.patch import Patch


@dataclass(frozen=True)
class Outlined:
    """A chunk whose `outboard` is known, and the `patches` over its whole record in the order in which they
    came."""

    layers: Layers
    outboard: bytes
    patches: tuple[Patch, ...]


def read_outboards(objects: ObjectStore, layers: Sequence[Layers]) -> Iterator[Outlined]:
    """Those of these chunks that have an outboard. Blocking; what is read is in memory together."""
    if not is_available():
        return
    bottoms = dict(read_stored(objects, _places(objects, layers)))
    chains = [each for each in layers if each.records[-1][0] in bottoms]
    patches = dict(read_stored(objects, {record for each in chains for record in each.records[:-1]}))
    for each in chains:
        found = _built(each, bottoms[each.records[-1][0]], patches)
        if found is not None and is_of(found.outboard, each.id):
            yield found


def _places(objects: ObjectStore, layers: Iterable[Layers]) -> Iterator[Placed]:
    """Where the outboards of the whole records at the bottom lie."""
    wanted: dict[bytes, set[bytes]] = {}
    for each in layers:
        wanted.setdefault(each.bottom.pack, set()).add(each.records[-1][0])
    for pack, names in wanted.items():
        try:
            index = objects.read_pack_index(pack)
        except (ObjectMissing, ObjectDamaged):  # whoever reads the chunks themselves says so
            continue
        for name, (offset, length) in index.outboards():
            if name in names:
                yield name, Location(pack, offset, length, length, Codec.NONE)


def _built(layers: Layers, bottom: Buffer, stored: Mapping[bytes, Buffer]) -> Outlined | None:
    """What the patches make of the outboard at the bottom; None where one cannot be read or does not fit."""
    outboard, patches = bytes(bottom), list[Patch]()
    try:
        for name, _ in reversed(layers.records[:-1]):
            if name not in stored:
                return None
            patches.append(Patch.decode(stored[name]))
            _, outboard = patched(outboard, patches[-1])
    except WireError:
        return None
    return Outlined(layers, outboard, tuple(patches))
