"""A private trace instance: buffers of its own, which nobody else's tracing disturbs.

It is a folder under /sys/kernel/tracing/instances and outlives the process that made it (until a reboot).
While its buffers are open it cannot be removed. `overwrite` is off, so a full buffer keeps what it has and
counts what it dropped.
"""

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.eventformat import (
    EventFormat,
    PageFormat,
    parse_event_format,
    parse_page_format,
)

TRACEFS: Final = Path("/sys/kernel/tracing")
EVENTS: Final = ("block_rq_complete", "block_bio_complete")
"""Completions of requests, and of bios where a driver has no requests: a write that is on its way may be read
before it is on the disk."""

_SETTINGS: Final = {"options/overwrite": "0", "tracing_on": "1"} | {
    f"events/block/{event}/enable": "1" for event in EVENTS
}
_STAMPED: Final = (
    "tracing_on",
    "trace",
    "buffer_size_kb",
    "options/overwrite",
    "tracing_cpumask",
    "set_event_pid",
    "set_event_notrace_pid",
)
"""Their times of change tell that somebody stopped, emptied, resized or narrowed the tracing."""
_WRITES: Final = 'nr_sector != 0 && !(rwbs ~ "R*")'
_FILTER_MOST: Final = 4000
"""The kernel takes less than a page of filter."""
_WAKE_PERCENT: Final = 25


@dataclass(frozen=True)
class CpuStats:
    """Counters of one CPU's buffer. `lost` is the sum of overruns, commit overruns and dropped events."""

    entries: int
    read: int
    lost: int


def mount_tracefs(root: Path = TRACEFS) -> None:
    """Mount tracefs where it is not mounted yet. Raises TrackingError."""
    if (root / "instances").is_dir():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"nodev", os.fsencode(root), b"tracefs", 0, None) != 0:
        raise TrackingError(
            f"tracefs cannot be mounted at {root}: {os.strerror(ctypes.get_errno())}", code="TRACKING_TRACEFS"
        )


class Instance:
    """One instance by name. Every method raises TrackingError for what the kernel refuses."""

    def __init__(self, name: str, root: Path = TRACEFS) -> None:
        self.name = name
        self.path = root / "instances" / name

    @property
    def exists(self) -> bool:
        """Whether the kernel has it."""
        return self.path.is_dir()

    def create(self, buffer_kib: int) -> None:
        """Make it, with so many KiB of buffer for each CPU, tracing nothing yet."""
        try:
            self.path.mkdir()
        except OSError as error:
            raise self._failed("made", error) from error
        self._write("buffer_size_kb", str(buffer_kib))
        if (self.path / "buffer_percent").exists():
            self._write("buffer_percent", str(_WAKE_PERCENT))

    def remove(self) -> None:
        """Remove it if it is there."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("removed", error) from error

    def trace(self, devices: Iterable[int], reads: bool = False) -> None:
        """Trace the writes, or reads as well, to these devices (numbers as the kernel has them)."""
        self.narrow(devices, reads)
        for name, value in _SETTINGS.items():
            self._write(name, value)

    def narrow(self, devices: Iterable[int], reads: bool = False) -> None:
        """Set the filter. The kernel puts it in the old one's place at once: nothing is lost in between."""
        writes, everything = _filters(devices)
        for event in EVENTS:
            try:
                self._write(_filter_of(event), everything if reads else writes)
            except TrackingError:  # before Linux 4.17 filters know no negation
                self._write(_filter_of(event), everything)

    def fault(self, devices: Iterable[int]) -> str:
        """What is not as `trace` set it; nothing if all is."""
        allowed = {name: (value,) for name, value in _SETTINGS.items()}
        for name, values in (allowed | {_filter_of(event): _filters(devices) for event in EVENTS}).items():
            found = self._read(name).strip()
            if found not in values:
                return f"{name} of the trace instance was set to {found[:60]!r}"
        return ""

    def stamp(self) -> str:
        """Changes when the instance is made anew, and when somebody writes to what it traces by."""
        try:
            times = [
                str((self.path / name).stat().st_mtime_ns) if (self.path / name).exists() else "-"
                for name in _STAMPED
            ]
            return " ".join([str(self.path.stat().st_ino), *times])
        except OSError as error:
            raise self._failed("read", error) from error

    def is_of(self, stamp: str) -> bool:
        """Whether it is the instance that had this stamp, whatever was done to it since."""
        return self.stamp().split()[0] == stamp.split()[0]

    def formats(self) -> tuple[EventFormat, ...]:
        """The formats of EVENTS."""
        return tuple(parse_event_format(self._read(f"events/block/{event}/format")) for event in EVENTS)

    def page_format(self) -> PageFormat:
        """The format of the buffers' pages."""
        return parse_page_format(self._read("events/header_page"), self._read("events/header_event"))

    def cpus(self) -> tuple[int, ...]:
        """All CPUs that may ever be there."""
        try:
            return tuple(sorted(int(path.name[3:]) for path in (self.path / "per_cpu").iterdir()))
        except OSError as error:
            raise self._failed("read", error) from error

    def open_cpu(self, cpu: int) -> "CpuBuffer":
        """Open a CPU's buffer."""
        try:
            return CpuBuffer(self.path / f"per_cpu/cpu{cpu}")
        except OSError as error:
            raise self._failed("read", error) from error

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text()
        except OSError as error:
            raise self._failed(f"read ({name})", error) from error

    def _write(self, name: str, text: str) -> None:
        try:
            (self.path / name).write_text(text)
        except OSError as error:
            raise self._failed(f"set up ({name})", error) from error

    def _failed(self, what: str, error: OSError) -> TrackingError:
        remedy = "stop the program that uses it" if error.errno == errno.EBUSY else ""
        return TrackingError(
            f"the trace instance {self.path} cannot be {what}: {error.strerror}",
            code="TRACKING_TRACEFS",
            remedy=remedy,
        )


def _filter_of(event: str) -> str:
    return f"events/block/{event}/filter"


def _filters(devices: Iterable[int]) -> tuple[str, str]:
    """The filter's text: all writes to the devices, or else reads as well; of all devices where there are
    more than the kernel takes."""
    chosen = " || ".join(f"dev == {device}" for device in sorted(set(devices))) or "dev == 0"
    if len(chosen) > _FILTER_MOST - len(_WRITES):
        chosen = "dev != 0"
    return (f"({chosen}) && {_WRITES}", f"({chosen}) && nr_sector != 0")


class CpuBuffer:
    """One CPU's buffer, open. Raises OSError."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path / "trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._stats = os.open(path / "stats", os.O_RDONLY | os.O_CLOEXEC)

    def read_into(self, page: memoryview) -> bool:
        """Take one page out of the kernel, a partly filled one too; False when there is nothing.

        The kernel answers with nothing at all, rather than with EAGAIN, while its page holds nothing but
        discarded events, and with ENODEV for a CPU that never was there.
        """
        try:
            return os.readv(self.fd, [page]) > 0
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise

    def stats(self) -> CpuStats:
        """The counters now."""
        found = dict(_lines(os.pread(self._stats, 4096, 0).decode()))
        lost = found["overrun"] + found["commit overrun"] + found["dropped events"]
        return CpuStats(found["entries"], found["read events"], lost)

    def close(self) -> None:
        """Let go."""
        os.close(self.fd)
        os.close(self._stats)


def _lines(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if value.strip().isdigit():
            yield name, int(value)
