"""The followed disks of this agent, over all its passes: is a disk's head known, and what was written since?

A disk is read as a whole where nothing is known of it: the first time, after a reboot, when the tracker may
have missed a write, when the disk is another one or has another size, or when it was ordered. Tracking goes
on from the moment before it is read.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.selection import SourceDisk
from app.agent.daemon.errors import RescanNeeded, TrackerGap, TrackingError
from app.agent.daemon.following.capture import FollowedCapture
from app.agent.daemon.following.ledger import Entry, Ledger
from app.agent.daemon.following.tracking import Tracking
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.tracking.choice import TrackingChoice, choose_tracking
from app.agent.daemon.tracking.disks import TrackedDisk
from app.wire.messages import DiskBase

RETRY_SECONDS: Final = 3600.0
"""Between two tries to read what could not be read: a disk takes seconds for each bad sector."""
FIRST: Final = ""
"""The reason for reading a disk as a whole that is nothing to worry about: it was never copied."""


@dataclass(frozen=True)
class Plan:
    """How a disk is passed over. `entry` is the head's where only what was written is read; else the disk is
    read as a whole, with a code and the reason in words."""

    entry: Entry | None
    code: str = FIRST
    detail: str = ""


class Follower:
    """Holds the tracker and the ledgers. `run` is a folder that a reboot empties."""

    def __init__(
        self,
        run: Path,
        tracking: Tracking | None = None,
        note: Callable[[str], None] = lambda _: None,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """Without `tracking` no disk is followed. `note` is told how the writes to a disk are followed."""
        self._run = run
        self._tracking = tracking
        self._note = note
        self._disks: tuple[TrackedDisk, ...] = ()
        self._is_tracking = False
        self._choices: dict[TrackedDisk, TrackingChoice] = {}
        self._doubts: dict[str, Plan] = {}
        self._unfinished: dict[str, Plan] = {}
        """Why disks are read as a whole that were not committed since."""
        self.retry_seconds = retry_seconds
        self._tried: dict[str, float] = {}
        self._known: set[str] = set()
        """Disks whose dirty sets stand on the head."""

    @property
    def tracking(self) -> Tracking:
        """The tracker of a follower that has one."""
        assert self._tracking is not None, "no disk is followed"
        return self._tracking

    @property
    def identity(self) -> str:
        """Names what the followed disks are tracked by; empty where none is."""
        return self._tracking.identity_of(self._disks[0].key) if self._tracking and self._disks else ""

    @property
    def _followed(self) -> frozenset[str]:
        return frozenset(disk.key for disk in self._disks)

    @property
    def backlog(self) -> dict[str, int]:
        """Bytes that are dirty and in no committed checkpoint, by the keys of followed disks."""
        return {disk.key: self._dirty_bytes(disk.key) for disk in self._disks}

    def _dirty_bytes(self, key: str) -> int:
        dirty = self.tracking.dirty_of(key)
        return dirty.current_bytes + dirty.frozen_bytes if key in self._known else 0

    @property
    def written_bytes(self) -> int:
        """Bytes that were written to the followed disks since this agent began."""
        return sum(self.tracking.dirty_of(disk.key).marked_bytes for disk in self._disks)

    @property
    def has_doubts(self) -> bool:
        """Whether a followed disk has to be read as a whole without waiting for the next pass to be due."""
        return any(key in self._followed for key in self._doubts)

    def method_of(self, key: str) -> tuple[str, str]:
        """By which method the writes to a disk are followed, empty for none, and why."""
        choice = next((self._choices[disk] for disk in self._choices if disk.key == key), None)
        if choice is None:
            return "", "each pass reads it as a whole"
        return (choice.name if key in self._followed else ""), choice.why

    def follow(self, disks: Sequence[SourceDisk]) -> frozenset[str]:
        """Track the writes to those of the disks that can be tracked; their keys."""
        if self._tracking is None:
            return frozenset()
        there = [TrackedDisk.of(disk) for disk in disks if not disk.reader.is_file]
        wanted = tuple(disk for disk in there if self._choice(disk).method.tracks)
        try:
            self._track(self._tracking, wanted)
        except TrackingError as error:
            self._note(f"no writes are followed: {error}")
            self._disks, self._known = (), set()
            return frozenset()
        self._disks = wanted
        return self._followed

    def _track(self, tracking: Tracking, wanted: tuple[TrackedDisk, ...]) -> None:
        if wanted and not self._is_tracking:
            tracking.start(wanted)
            self._is_tracking = True
        elif wanted != self._disks:
            tracking.track(wanted)

    def _choice(self, disk: TrackedDisk) -> TrackingChoice:
        if disk not in self._choices:
            self._choices[disk] = choose_tracking(disk)
            self._note(str(self._choices[disk]))
        return self._choices[disk]

    def close(self, *, keep: bool) -> None:
        """Go on tracking without this process, or end it."""
        if self._tracking is None or not self._is_tracking:
            return
        disks, self._disks, self._known = self._disks, (), set()
        if not keep:
            for disk in disks:
                self._ledger(disk.key).forget()
        self._is_tracking = False
        self._tracking.close(keep=keep)

    def drain(self) -> None:
        """Take in every write that completed before this call. See `verification.writes.Writes`."""
        if self._disks:
            self.tracking.drain()

    def tracks(self, key: str) -> bool:
        """Whether every write to the disk since its head is known."""
        return key in self._known and key not in self._doubts and not self.tracking.gap_of(key)

    def touched(self, key: str, start: int, end: int) -> bool:
        """Whether something in these bytes of the disk was written since its head."""
        return self.tracking.dirty_of(key).touches(start, end)

    def doubt_all(self, keys: Iterable[str]) -> None:
        """The replicas of these disks differ where nobody was seen to write."""
        for key in keys:
            self._doubt(key, Plan(None, "REPLICA_DIFFERS", _VERIFIED))

    def doubt(self, need: RescanNeeded) -> None:
        """What is known of a disk's replica does not do: the disk is read as a whole by the next pass."""
        code = need.code if isinstance(need, TrackerGap) else "REPLICA_DIFFERS"
        self._doubt(need.key, Plan(None, code, need.reason))

    def _doubt(self, key: str, plan: Plan) -> None:
        """Remember it beside the dirty sets, too: the next agent must know."""
        self._doubts[key] = plan
        try:
            self._ledger(key).doubt()
        except TrackingError as error:
            self._note(str(error))

    def plan(self, base: DiskBase, size: int, order: str) -> Plan:
        """How to pass over a disk of `size` bytes whose replica stands at `base`; `order` names a rescan.

        For a disk that is read as a whole, tracking has begun anew when this returns.
        """
        plan = self._plan(base, size, order)
        if plan.entry is not None:
            self._known.add(base.key)
        else:
            self._known.discard(base.key)
            self._ledger(base.key).forget()
            self.tracking.restart(base.key)
            self._doubts.pop(base.key, None)
            self._unfinished[base.key] = plan
            self._tried[base.key] = time.monotonic()
        return plan

    def is_retry_due(self, key: str) -> bool:
        """Whether to read again now what of the disk could not be read; that counts as the try."""
        now = time.monotonic()
        if now - self._tried.get(key, -math.inf) < self.retry_seconds:
            return False
        self._tried[key] = now
        return True

    def _plan(self, base: DiskBase, size: int, order: str) -> Plan:
        self.tracking.drain()
        entry, was_committed = self._ledger(base.key).of(base.root)
        if was_committed:
            self.tracking.dirty_of(base.key).drop_frozen()
        gap = self.tracking.gap_of(base.key)
        if order:
            return Plan(None, "RESCAN_ORDERED", "it was ordered")
        if base.key in self._doubts:
            return self._doubts[base.key]
        if entry is not None and entry.node.size != size:
            return Plan(None, "DISK_LAYOUT_CHANGED", f"it had {entry.node.size} bytes and has {size}")
        if base.root and gap:
            return Plan(None, "TRACKER_GAP", gap)
        if entry is None or entry.tracker != self.tracking.identity_of(base.key):
            restarted = Plan(None, "AGENT_RESTARTED", _UNKNOWN) if base.root else Plan(None)
            return self._unfinished.get(base.key, restarted)
        return Plan(entry)

    def ask(self, disks: Sequence[DiskPass]) -> None:
        """A commit of these passes is about to be asked for."""
        for disk in disks:
            capture = disk.capture
            if isinstance(capture, FollowedCapture):
                self._ledger(disk.base.key).ask(self._entry(disk, capture))

    def committed(self, disks: Sequence[DiskPass]) -> None:
        """The commit succeeded: what was taken is with the service."""
        for disk in disks:
            if isinstance(disk.capture, FollowedCapture):
                self._ledger(disk.base.key).promote()
                self._known.add(disk.base.key)
                self._unfinished.pop(disk.base.key, None)
                self.tracking.dirty_of(disk.base.key).drop_frozen()

    def _entry(self, disk: DiskPass, capture: FollowedCapture) -> Entry:
        return Entry(
            root=disk.root.hash.hex(),
            tree=disk.root.encode().hex(),
            tracker=self.tracking.identity_of(disk.base.key),
            omitted=capture.omitted.ranges(),
            unreadable=disk.damaged.ranges(),
            unwritten=capture.unwritten.ranges(),
        )

    def _ledger(self, key: str) -> Ledger:
        return Ledger(self._run, key)


_UNKNOWN: Final = "this agent does not know what the replica's head holds"
_VERIFIED: Final = "a verification found that the replica differs where no write was seen"
