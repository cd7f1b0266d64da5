"""The seam between ways of reading a disk and the pipeline.

A capture is one pass over one disk: it names the byte ranges that need not be read, and judges afterwards how
consistent the pass was.
"""

from dataclasses import dataclass
from typing import Protocol

from app.agent.daemon.capture.extents import Extents


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
