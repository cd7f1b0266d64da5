"""Chunks that the service lost and wants again: where on a disk are they?

A pass over what was written would not meet them, so their places are found in the leaves of the head, which
need not be read from the disk.
"""

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.service import Session
from app.wire.tree import LEAF_IDS, leaf_ids


class Resending:
    """Remembers what was looked for in vain: the service names the lost chunks of a whole project."""

    def __init__(self) -> None:
        self._in_vain: dict[str, frozenset[bytes]] = {}

    def places(self, session: Session, disk: DiskPass) -> Extents:
        """The byte ranges of the disk whose chunks the session wants again. Raises LinkError."""
        wanted = frozenset(session.doubted) - self._in_vain.get(disk.base.key, frozenset())
        if not wanted:
            return Extents()
        unit, found = disk.base.chunk_size, Extents()
        for index in range(disk.leaf_count):
            for at, name in enumerate(leaf_ids(disk.leaves.ids(index))):
                if name in wanted:
                    start = (index * LEAF_IDS + at) * unit
                    found.add(start, min(start + unit, disk.reader.size))
        if not len(found):
            self._in_vain[disk.base.key] = frozenset(session.doubted)
        return found
