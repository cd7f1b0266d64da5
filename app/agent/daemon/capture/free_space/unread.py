"""What need not be read of a disk whose writes are tracked: free space, mounted or not, and active swap."""

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.finder import FreeMap, find_free
from app.agent.daemon.capture.free_space.live import live_free
from app.agent.daemon.disk.selection import SourceDisk
from app.agent.daemon.disk.standing import OnDisks, Standing


def free_maps(disk: SourceDisk, standing: OnDisks) -> tuple[FreeMap, ...]:
    """The free space of the disk's filesystems, mounted or not. For a copy, writes are tracked by now."""
    mounted = {
        _place(each): each for each in standing.filesystems if each.span and each.span.disk == disk.disk.key
    }
    live = [place for place in disk.layout.places if (place.start, place.size) in mounted]
    others = tuple(place for place in disk.layout.places if place not in live)
    found = [live_free(mounted[place.start, place.size], place) for place in live]
    return (*found, *find_free(disk.reader, others))


def _place(standing: Standing) -> tuple[int, int]:
    assert standing.span
    return standing.span.start, standing.span.size


def swapped(standing: OnDisks, key: str) -> Extents:
    """The bytes of the disk with this key that active swap takes: worth nothing in a copy."""
    spans = (span for swap in standing.swaps for span in swap.spans if span.disk == key)
    return Extents.of((span.start, span.start + span.size) for span in spans)
