"""Rescan: read everything that is not explicitly free. Needs nothing of the host and always works."""

from app.agent.daemon.capture.activity import label, take_snapshot
from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.finder import find_free, notes_of, united
from app.agent.daemon.capture.method import Recheck
from app.agent.daemon.disk.layout import FilesystemPlace, Layout
from app.agent.daemon.disk.reader import DiskReader


class Rescan:
    """One pass over one disk; see `Capture`."""

    def __init__(self, reader: DiskReader, layout: Layout) -> None:
        self._reader = reader
        self._before = take_snapshot(reader)
        self._maps = find_free(reader, layout.places)
        self.omitted = united(self._maps)
        self.notes = (*_buffered(reader), *notes_of(self._maps))

    def recheck(self) -> Recheck:
        """Take the maps again and compare: where a filesystem's answer changed, its omission is spoilt."""
        trusted = tuple(free_map for free_map in self._maps if len(free_map.free))
        fresh = find_free(self._reader, tuple(free_map.place for free_map in trusted))
        spoilt = [old for old, new in zip(trusted, fresh, strict=True) if old.free != new.free]
        self._maps = tuple(free_map for free_map in trusted if free_map not in spoilt)
        self.omitted = united(self._maps)
        verdict = label(self._before, take_snapshot(self._reader))
        return Recheck(verdict, Extents.of(_span(free_map.place) for free_map in spoilt))


def _span(place: FilesystemPlace) -> tuple[int, int]:
    return place.start, place.start + place.size


def _buffered(reader: DiskReader) -> tuple[str, ...]:
    return () if reader.direct else (f"{reader.path} does not allow O_DIRECT and is read buffered",)
