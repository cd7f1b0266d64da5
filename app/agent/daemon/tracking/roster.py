"""The disks under tracking: their dirty sets, their gaps, and the record of both.

Not for several threads at once.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.disks import TrackedDisk, event_numbers, name_of, sequence_of
from app.agent.daemon.tracking.intake import Route
from app.agent.daemon.tracking.record import DiskRecord, TrackerRecord, boot_id, write_record

_RECORD: Final = "tracker.json"


def record_path(run: Path) -> Path:
    """Where the record lies in a run folder."""
    return run / _RECORD


class Tracked:
    """A disk under tracking; `record` is replaced as it changes."""

    def __init__(self, run: Path, record: DiskRecord) -> None:
        self.record = record
        self.dirty = DirtyMap(run / f"{blake3(record.key.encode()).hexdigest(length=8)}.dirty", record.size)

    def note_gap(self, reason: str) -> None:
        """Have a gap; the first reason stays."""
        self.record = dataclasses.replace(self.record, gap=self.record.gap or reason)

    @property
    def is_another(self) -> bool:
        """Whether the device number now belongs to another disk, or to none."""
        return sequence_of(self.record.number) != self.record.disk_sequence


class Roster:
    """The tracked disks of one instance. Every method that keeps something raises TrackingError."""

    def __init__(self, run: Path, instance_id: str) -> None:
        self._run = run
        self._instance_id = instance_id
        self._beginnings = 0
        self._disks: dict[str, Tracked] = {}

    def adopt(self, earlier: TrackerRecord) -> None:
        """Take over the disks and dirty sets of an earlier process."""
        self._beginnings = earlier.beginnings
        for record in earlier.disks:
            tracked = self._disks[record.key] = Tracked(self._run, record)
            if tracked.dirty.reason:
                tracked.note_gap(tracked.dirty.reason)

    def drop_others(self, disks: Sequence[TrackedDisk]) -> None:
        """Forget every disk that is none of these, or differs."""
        for key, tracked in tuple(self._disks.items()):
            if tracked.record.disk not in disks:
                tracked.dirty.close()
                tracked.dirty.path.unlink(missing_ok=True)
                del self._disks[key]

    def add(self, disks: Sequence[TrackedDisk], reason: str) -> None:
        """Have these disks too; `reason` is the gap of those that are new."""
        for disk in disks:
            if disk.key not in self._disks:
                self._disks[disk.key] = self._begun(disk, reason)

    def _begun(self, disk: TrackedDisk, reason: str) -> Tracked:
        record = DiskRecord(
            disk.key, disk.number, disk.offset, disk.size, sequence_of(disk.number), 0, reason
        )
        tracked = Tracked(self._run, record)
        tracked.dirty.clean()
        return tracked

    def of(self, key: str) -> Tracked:
        """The disk. Raises TrackingError."""
        found = self._disks.get(key)
        if found is None:
            raise TrackingError(f"{key} is not tracked", remedy="tell the tracker of it first")
        return found

    def routes(self) -> dict[int, list[Route]]:
        """Where the writes to each device number (the kernel's) are marked."""
        routes: dict[int, list[Route]] = {}
        for tracked in self._disks.values():
            disk = tracked.record
            for number in event_numbers(disk.number):
                routes.setdefault(number, []).append(Route(disk.offset, disk.size, tracked.dirty))
        return routes

    def note_gap(self, reason: str) -> None:
        """Every disk has a gap."""
        for tracked in self._disks.values():
            tracked.note_gap(reason)

    def strangers(self) -> str:
        """Which disk is no longer the one that it was; nothing if all are. Those have a gap then."""
        found = [tracked for tracked in self._disks.values() if not tracked.record.gap and tracked.is_another]
        for tracked in found:
            tracked.note_gap(
                f"the device number of {tracked.record.key} belongs to no disk or to another one now"
            )
        return ", ".join(name_of(tracked.record.number) for tracked in found)

    def restart(self, key: str) -> None:
        """Empty a disk's dirty sets and end its gap."""
        tracked = self.of(key)
        tracked.dirty.clean()
        self._beginnings += 1
        tracked.record = dataclasses.replace(
            tracked.record,
            gap="",
            sequence=self._beginnings,
            disk_sequence=sequence_of(tracked.record.number),
        )

    def identity_of(self, key: str) -> str:
        """Boot, instance and beginning of a disk's tracking."""
        return f"{boot_id()}/{self._instance_id}/{self.of(key).record.sequence}"

    def save(self, stamp: str) -> None:
        """Keep the record; `stamp` is the instance's."""
        records = tuple(tracked.record for tracked in self._disks.values())
        record = TrackerRecord(boot_id(), self._instance_id, stamp, self._beginnings, records)
        write_record(record_path(self._run), record)

    def close(self, forget: bool) -> None:
        """Let go of the dirty sets; with `forget` remove them and the record."""
        for tracked in self._disks.values():
            tracked.dirty.close()
            if forget:
                tracked.dirty.path.unlink(missing_ok=True)
        self._disks.clear()
        if forget:
            record_path(self._run).unlink(missing_ok=True)
