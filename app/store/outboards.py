"""Outboards of chunks as they are kept: the one that lies beside the whole record at the bottom, and what the
patches over it make of it.

Of a chain nothing is read but its patches. What is handed out has proved itself by the chunk's id.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

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


def read_outboards(objects: ObjectStore, layers: Sequence[Layers]) -> Iterator[tuple[Layers, bytes]]:
    """Those of these chunks that have an outboard, each with it. Blocking; all are in memory together."""
    if not is_available():
        return
    bottoms = dict(read_stored(objects, _places(objects, layers)))
    chains = [each for each in layers if each.records[-1][0] in bottoms]
    patches = dict(read_stored(objects, {record for each in chains for record in each.records[:-1]}))
    for each in chains:
        outboard = _built(each, bottoms[each.records[-1][0]], patches)
        if outboard is not None and is_of(outboard, each.id):
            yield each, bytes(outboard)


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


def _built(layers: Layers, bottom: Buffer, patches: Mapping[bytes, Buffer]) -> Buffer | None:
    """The chunk's outboard, or None where its patches cannot be read or do not fit."""
    outboard = bottom
    try:
        for name, _ in reversed(layers.records[:-1]):
            if name not in patches:
                return None
            _, outboard = patched(outboard, Patch.decode(patches[name]))
    except WireError:
        return None
    return outboard
