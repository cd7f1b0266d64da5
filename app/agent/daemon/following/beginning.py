"""How the passes of a session begin: for each disk, what of it is read, and on what that stands.

followed, head known      what was written since, and now and then what could not be read before
followed, head not known  all that is not free; tracking has begun before the free space is asked for
not followed              all that is not free, see `Rescan`
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.capture.free_space.finder import notes_of, united
from app.agent.daemon.capture.free_space.unread import free_maps, swapped
from app.agent.daemon.capture.rescan import Rescan
from app.agent.daemon.disk.selection import SourceDisk
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.errors import LinkError
from app.agent.daemon.following.capture import FollowedCapture, RoundDirt
from app.agent.daemon.following.follower import Follower, Plan
from app.agent.daemon.following.ledger import Entry
from app.agent.daemon.following.resending import Resending
from app.agent.daemon.following.rounds import FollowedDisk
from app.agent.daemon.pipeline.base import BaseLeaves, LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.service import Session
from app.agent.daemon.tracking.blocks import BlockSet
from app.wire.chunks import is_chunk_size
from app.wire.messages import DiskBase
from app.wire.tree import leaf_count

TRACKED: Final = "tracefs"
MOST_OMITTED: Final = 200_000
"""Omitted ranges of a followed disk: each commit carries them all, 5 MB, and each checkpoint keeps them."""


@dataclass
class Passes:
    """The passes of a session. `partial` are those over what was written, `extra` the blocks that are read
    besides, by disk key; `plans` say by key why a followed disk is read as a whole."""

    every: list[DiskPass] = field(default_factory=list)
    partial: list[FollowedDisk] = field(default_factory=list)
    extra: dict[str, BlockSet] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)

    @property
    def wholes(self) -> list[DiskPass]:
        """The passes over whole disks."""
        parts = {each.disk.number for each in self.partial}
        return [disk for disk in self.every if disk.number not in parts]

    @property
    def has_followed_whole(self) -> bool:
        """Whether a disk that is followed from now on is read as a whole."""
        return any(isinstance(disk.capture, FollowedCapture) for disk in self.wholes)

    @property
    def reason(self) -> tuple[str, str]:
        """The code and the words for why disks are read as a whole; the first that has any."""
        found = ((plan.code, plan.detail) for plan in self.plans.values() if plan.code)
        return next(found, ("", ""))

    @property
    def method(self) -> str:
        """The names of the capture methods."""
        followed = [isinstance(disk.capture, FollowedCapture) for disk in self.every]
        return ",".join(
            name for name, is_there in ((TRACKED, any(followed)), ("rescan", not all(followed))) if is_there
        )


class Beginning:
    """Begins the passes of one session."""

    def __init__(
        self, session: Session, follower: Follower, resending: Resending, cache: LeafCache, order: str
    ) -> None:
        """`order` names an ordered rescan, empty for none."""
        self._session = session
        self._follower = follower
        self._resending = resending
        self._cache = cache
        self._order = order
        self._bases = {base.key: base for base in session.opened.disks}

    def passes(self, disks: Sequence[SourceDisk], followed: frozenset[str], standing: OnDisks) -> Passes:
        """One pass for each disk; `followed` are the keys of those whose writes are tracked.

        Raises DiskError, LinkError.
        """
        found = Passes()
        for number, disk in enumerate(disks):
            base = self._base(disk)
            if disk.disk.key not in followed:
                found.every.append(self._rescan(number, disk, base))
                continue
            plan = self._follower.plan(base, disk.reader.size, self._order)
            found.plans[disk.disk.key] = plan
            if plan.entry is None:
                found.every.append(self._whole(number, disk, base, standing))
            else:
                self._add_part(found, number, disk, base, plan.entry, standing)
        return found

    def _base(self, disk: SourceDisk) -> DiskBase:
        base = self._bases.get(disk.disk.key)
        if base is None:
            raise LinkError(
                f"the service opened a session without the disk {disk.disk.path}", code="BAD_ANSWER"
            )
        if not is_chunk_size(base.chunk_size):  # memory is taken by it
            raise LinkError(
                f"the service wants {disk.disk.path} in chunks of {base.chunk_size} bytes", code="BAD_ANSWER"
            )
        return base

    def _leaves(self, disk: SourceDisk, base: DiskBase, entry: Entry | None = None) -> BaseLeaves:
        count = leaf_count(disk.reader.size, base.chunk_size) if base.root else 0
        fetch = partial(self._session.leaves, base.disk_id)
        return BaseLeaves(fetch, count, entry.node if entry else None, self._cache)

    def _rescan(self, number: int, disk: SourceDisk, base: DiskBase) -> DiskPass:
        capture = Rescan(disk.reader, disk.layout)
        return DiskPass(number, disk.reader, base, capture, self._leaves(disk, base))

    def _whole(self, number: int, disk: SourceDisk, base: DiskBase, standing: OnDisks) -> DiskPass:
        swap = swapped(standing, base.key)
        maps = free_maps(disk, standing)
        omitted = Extents.of([*swap, *united(maps)])
        capture = FollowedCapture(self._follower.tracking, base.key, omitted, swap, notes_of(maps))
        return DiskPass(number, disk.reader, base, capture, self._leaves(disk, base))

    def _add_part(
        self, found: Passes, number: int, disk: SourceDisk, base: DiskBase, entry: Entry, standing: OnDisks
    ) -> None:
        tracking = self._follower.tracking
        swap_then, swap_now = Extents.of_ranges(entry.unwritten), swapped(standing, base.key)
        gone, came = swap_then.without(swap_now), swap_now.without(swap_then)
        omitted = Extents.of([*Extents.of_ranges(entry.omitted).without(gone), *came])
        capture = FollowedCapture(tracking, base.key, omitted, swap_now, (), came)
        damaged = Extents.of_ranges(entry.unreadable)
        leaves = self._leaves(disk, base, entry)
        dirt = RoundDirt(tracking, base.key)
        part = DiskPass(number, disk.reader, base, capture, leaves, dirt, damaged)
        found.every.append(part)
        found.partial.append(FollowedDisk(part, capture, dirt))
        is_due = len(damaged) and self._follower.is_retry_due(base.key)
        again = damaged if is_due else Extents()
        resent = self._resending.places(self._session, part)
        found.extra[base.key] = _blocks(gone, came, again, worn(omitted), resent)


def worn(omitted: Extents) -> Extents:
    """The omitted ranges that are to be read from now on: the shortest, where writes cut free space into too
    many."""
    if len(omitted) <= MOST_OMITTED:
        return Extents()
    return omitted.without(omitted.largest(MOST_OMITTED // 2))


def _blocks(*found: Extents) -> BlockSet:
    blocks = BlockSet()
    for each in found:
        for start, end in each:
            blocks.add(start, end - start)
    return blocks
