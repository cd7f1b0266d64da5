"""What stands on a disk: its partition table and the filesystems in it, as messages and as places."""

from dataclasses import dataclass

from app.agent.daemon.disk.partitions import Slot, Table, read_table
from app.agent.daemon.disk.reader import DiskReader
from app.agent.daemon.disk.superblocks import recognise
from app.wire.messages import Filesystem, Partition


@dataclass(frozen=True)
class FilesystemPlace:
    """A filesystem in bytes [start, start + size) of its disk."""

    kind: str
    start: int
    size: int


@dataclass(frozen=True)
class Layout:
    """`filesystem` is set where the disk has no partition table and one filesystem fills it."""

    table: Table
    partitions: tuple[Partition, ...]
    filesystem: Filesystem | None
    places: tuple[FilesystemPlace, ...]


def read_layout(reader: DiskReader) -> Layout:
    """Read the layout from the disk itself. A file may use either sector size; a device states its own."""
    sectors = (512, 4096) if reader.is_file else (reader.sector_size,)
    table = read_table(reader.read_at, reader.size, sectors)
    partitions = tuple(_partition(reader, slot) for slot in table.slots)
    whole = recognise(reader.read_at, 0, reader.size) if table.scheme == "none" else None
    places = [FilesystemPlace(whole.kind, 0, reader.size)] if whole else []
    places += [
        FilesystemPlace(part.filesystem.kind, part.start, part.size) for part in partitions if part.filesystem
    ]
    return Layout(table, partitions, whole, _apart(places))


def _partition(reader: DiskReader, slot: Slot) -> Partition:
    return Partition(
        number=slot.number,
        start=slot.start,
        size=slot.size,
        type=slot.type,
        name=slot.name,
        uuid=slot.uuid,
        filesystem=recognise(reader.read_at, slot.start, slot.size),
    )


def _apart(places: list[FilesystemPlace]) -> tuple[FilesystemPlace, ...]:
    """The places that overlap no other one: free space of one could be in use by the other."""

    def is_apart(place: FilesystemPlace) -> bool:
        others = (other for other in places if other is not place)
        return all(
            other.start + other.size <= place.start or place.start + place.size <= other.start
            for other in others
        )

    return tuple(sorted(filter(is_apart, places), key=lambda place: place.start))
