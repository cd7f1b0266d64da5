"""The seam to the write tracker: what following needs of it."""

from collections.abc import Sequence
from typing import Protocol

from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.disks import TrackedDisk


class Tracking(Protocol):
    """Knows which blocks of the followed disks were written to. Disks go by their keys. Thread-safe."""

    def start(self, disks: Sequence[TrackedDisk]) -> None:
        """Go on with the tracking of an earlier process, or begin anew. Raises TrackingError."""

    def track(self, disks: Sequence[TrackedDisk]) -> None:
        """From now on track these disks; those that were tracked before go on. Raises TrackingError."""

    def close(self, keep: bool) -> None:
        """End, or let the kernel go on recording for the next process."""

    def drain(self) -> None:
        """Take in every write that completed before this call."""

    def gap_of(self, key: str) -> str:
        """Why writes to the disk may have been missed since `restart`; empty if none was."""

    def restart(self, key: str) -> None:
        """Begin anew with the disk: it is about to be read as a whole. Its dirty sets are empty then."""

    def identity_of(self, key: str) -> str:
        """Names this tracking of the disk: another one begins where this one may have missed a write."""

    def is_writing(self, key: str) -> bool:
        """Whether a write to the disk is under way. What was complete before the call is `drain`'s."""

    def dirty_of(self, key: str) -> DirtyMap:
        """The disk's dirty sets."""
