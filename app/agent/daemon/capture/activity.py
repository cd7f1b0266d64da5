"""Was a disk written to during a pass? Two snapshots that are equal and calm say no.

Block device: the whole disk's counters of completed writes and discards, and no write in flight. File:
its modification and change times and size, after its cached changes were written back, and the counters
of loop devices on it. What cannot be seen counts as a write.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.family import members_of, whole_disk
from app.agent.daemon.disk.reader import DiskReader

FROZEN: Final = "frozen"
QUIET: Final = "quiet"
FUZZY: Final = "fuzzy"
_CLOCK_TICK: Final = 0.05
"""Seconds: file times advance in steps of up to 10 ms, so a younger time proves nothing."""


@dataclass(frozen=True)
class Snapshot:
    """A disk's write counters at one moment; `is_calm` is False where writes may escape the counters."""

    counters: tuple[int, ...]
    is_calm: bool


def take_snapshot(reader: DiskReader) -> Snapshot:
    """The write counters now. Raises DiskError for a disk that vanished."""
    if reader.is_file:
        return _of_file(reader)
    return _joined([_of_block(whole_disk(reader.status().st_rdev))])


def worst(labels: Iterable[str]) -> str:
    """The label of a checkpoint whose disks have these."""
    found = set(labels)
    return next((each for each in (FUZZY, QUIET) if each in found), FROZEN)


def label(before: Snapshot, after: Snapshot) -> str:
    """`quiet` when no write was seen between the snapshots, else `fuzzy`."""
    calm = before.is_calm and after.is_calm
    return QUIET if calm and before.counters == after.counters else FUZZY


def _of_file(reader: DiskReader) -> Snapshot:
    reader.sync()
    status = reader.status()
    if time.time() - status.st_mtime < _CLOCK_TICK:
        time.sleep(_CLOCK_TICK)
        status = reader.status()
    times = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
    settled = time.time() - status.st_mtime >= _CLOCK_TICK / 2
    loops = [_of_block(Path("/sys/class/block") / member.name) for member in members_of(status)]
    return _joined([Snapshot(times, settled), *loops])


def _of_block(directory: Path) -> Snapshot:
    """The counters of /sys/block/<name>/stat: writes, their sectors, discards, their sectors."""
    try:
        fields = [int(field) for field in (directory / "stat").read_text().split()]
        writing = int((directory / "inflight").read_text().split()[1])
        counted = (directory / "queue/iostats").read_text().strip() != "0" if _is_whole(directory) else True
    except (OSError, ValueError, IndexError):
        return Snapshot((), is_calm=False)
    discards = tuple(fields[11:12] + fields[13:14])
    return Snapshot((fields[4], fields[6], *discards), is_calm=counted and writing == 0)


def _is_whole(directory: Path) -> bool:
    return not (directory / "partition").exists()


def _joined(parts: list[Snapshot]) -> Snapshot:
    counters = tuple(value for part in parts for value in part.counters)
    return Snapshot(counters, all(part.is_calm for part in parts))
