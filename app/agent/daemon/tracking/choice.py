"""How a disk's writes are followed: the first of METHODS that works for it, and why no earlier one does."""

from dataclasses import dataclass
from typing import Final, Protocol

from app.agent.daemon.tracking.disks import TrackedDisk
from app.agent.daemon.tracking.trial import Probe, probe_disk


class TrackingMethod(Protocol):
    """A way of following writes. `tracks` is False where each pass reads everything instead."""

    name: str
    tracks: bool

    def probe(self, disk: TrackedDisk) -> Probe:
        """Whether this method works for the disk, and why or why not."""


class Tracefs:
    """The kernel's own block events, see `tracefs`."""

    name = "tracefs"
    tracks = True

    def probe(self, disk: TrackedDisk) -> Probe:
        """Read a block and look whether its completion is reported."""
        return probe_disk(disk)


class NoTracking:
    """Nothing is followed: each pass reads and hashes all that is in use."""

    name = "rescan"
    tracks = False

    def probe(self, disk: TrackedDisk) -> Probe:
        """It always works."""
        return Probe(is_usable=True, reason=f"{disk.key} is read whole at each pass")


METHODS: Final[tuple[TrackingMethod, ...]] = (Tracefs(), NoTracking())


@dataclass(frozen=True)
class TrackingChoice:
    """`refused` are the methods that come before, each with its reason."""

    method: TrackingMethod
    reason: str
    refused: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """The method's name; empty where the writes are not followed."""
        return self.method.name if self.method.tracks else ""

    @property
    def why(self) -> str:
        """Why the writes are followed by this method, or why by none."""
        if self.method.tracks or not self.refused:
            return self.reason
        return "; ".join(reason for _, reason in self.refused)

    def __str__(self) -> str:
        """One line for an operator."""
        passed_over = "".join(f"; not {name}, because {reason}" for name, reason in self.refused)
        return f"{self.method.name}: {self.reason}{passed_over}"


def choose_tracking(disk: TrackedDisk, methods: tuple[TrackingMethod, ...] = METHODS) -> TrackingChoice:
    """The first method whose probe succeeds; the last of METHODS always does."""
    refused: list[tuple[str, str]] = []
    for method in methods:
        probe = method.probe(disk)
        if probe.is_usable:
            return TrackingChoice(method, probe.reason, tuple(refused))
        refused.append((method.name, probe.reason))
    raise AssertionError(f"no method follows {disk.key}: {refused}")
