"""The seam between capture methods and the pipeline.

A method says by a probe whether it works for a disk, and why not. A capture is one pass over one disk:
it names the byte ranges that need not be read, and judges afterwards how consistent the pass was.
"""

from dataclasses import dataclass
from typing import Protocol

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.disk.layout import Layout
from app.agent.daemon.disk.reader import DiskReader


@dataclass(frozen=True)
class Probe:
    """Whether a method works for a disk; `reason` says why or why not."""

    is_usable: bool
    reason: str


@dataclass(frozen=True)
class Recheck:
    """`spoilt` are byte ranges of the disk whose omission no longer holds: they must be read once more."""

    label: str
    spoilt: Extents


class Capture(Protocol):
    """One pass over one disk. Not shared between threads, except for reading `omitted`."""

    omitted: Extents
    """Byte ranges that are not read and count as zeros, in multiples of 4 KiB."""

    notes: tuple[str, ...]
    """What an operator may want to know, such as why a filesystem is read whole."""

    def recheck(self) -> Recheck:
        """Judge the pass so far. Ranges in `spoilt` have left `omitted`. Raises DiskError."""


class CaptureMethod(Protocol):
    """A way of finding out what a disk holds. `name` goes into the commit."""

    name: str

    def probe(self, reader: DiskReader) -> Probe:
        """Whether this method works for the disk."""

    def begin(self, reader: DiskReader, layout: Layout) -> Capture:
        """Begin a pass. Raises DiskError."""
