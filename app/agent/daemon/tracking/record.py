"""What the next process of the agent must know to go on with a tracker: `tracker.json` in the run folder.

It is written before a gap is settled and before a disk is tracked, so that whatever is cut off, the next
process either finds the gap in it or finds it itself in the kernel's counters.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.state import write_atomically
from app.agent.daemon.tracking.disks import TrackedDisk
from app.wire.errors import MessageError
from app.wire.jsonform import decode, encode

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class DiskRecord:
    """A tracked disk. `gap` says why its dirty sets are not whole; nothing if they are.

    `sequence` numbers its beginnings, 0 is before the first; `disk_sequence` is the kernel's for the device.
    """

    key: str
    number: int
    offset: int
    size: int
    disk_sequence: str
    sequence: int
    gap: str

    @property
    def disk(self) -> TrackedDisk:
        """The disk itself."""
        return TrackedDisk(self.key, self.number, self.offset, self.size)


@dataclass(frozen=True)
class TrackerRecord:
    """`instance_id` (hex) is random and new with each trace instance; `stamp` is that instance's.

    `beginnings` counts `restart` over all disks, those that are no longer tracked too.
    """

    boot_id: str
    instance_id: str
    stamp: str
    beginnings: int
    disks: tuple[DiskRecord, ...]


def boot_id() -> str:
    """This boot of the machine."""
    return _BOOT_ID.read_text().strip()


def read_record(path: Path) -> TrackerRecord | str:
    """The record, or why there is none that can be used."""
    try:
        return decode(TrackerRecord, path.read_bytes())
    except FileNotFoundError:
        return "there was no tracker before"
    except (OSError, MessageError) as error:
        return f"the tracker's record {path} cannot be read: {error}"


def write_record(path: Path, record: TrackerRecord) -> None:
    """Keep the record. Raises TrackingError."""
    try:
        write_atomically(path, encode(record))
    except OSError as error:
        raise TrackingError(
            f"the tracker's record {path} cannot be kept: {error.strerror}",
            code="TRACKING_STATE",
            remedy="make room in /run",
        ) from error
