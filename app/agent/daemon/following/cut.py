"""The cut: freeze the source, read what is left of its writes, thaw. A true point in time of all disks.

What was dirty just before was read ahead (`ahead`): of it only the blocks written since are left.

While the source is frozen nothing of this program writes to a disk, logs, forks or loads code: what it needs
is made before, and the collector of garbage rests. Every failure and every late step thaws at once.

The budget begins with the first freeze and is for freezing and reading together; what is late by then is read
without a freeze. Should this process itself stand still, the freezer thaws GRACE_SECONDS later.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.following.ahead import not_ahead, stale
from app.agent.daemon.following.arena import Arena, Reading, TooLate
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.freezer.results import Frozen, Thawed

GRACE_SECONDS: Final = 1.0


@dataclass
class Cut:
    """What came of a try. `readings` hold what was left; `is_complete` is False where it did not fit into the
    memory or the budget: then it is still to be read. `was_writing` says that a write was under way at its
    end. `source_time` is the moment that was cut at, `seconds` how long the source was frozen, `failure` why
    it could not be, `doubt` why somebody could write all the same."""

    label: str = FUZZY
    is_complete: bool = False
    was_writing: bool = False
    readings: list[Reading] = field(default_factory=list)
    seconds: float = 0.0
    source_time: datetime | None = None
    failure: str = ""
    doubt: str = ""
    read_bytes: int = 0
    """What was read while the source was frozen."""


def cut(rounds: Rounds, arena: Arena, freezer: Freezer | None, standing: OnDisks, budget: float) -> Cut:
    """Try to cut. Without a freezer, or where freezing fails, nothing is frozen and the label says so.

    Raises DiskError, TrackerGap.
    """
    done = Cut()
    with _collector_at_rest():
        frozen = _freeze(freezer, standing, budget, done)
        began = frozen.began if frozen else time.monotonic()
        try:
            _read(rounds, arena, done, began + budget)
        finally:
            thawed = freezer.thaw() if freezer and frozen else None
    done.seconds = thawed.seconds if thawed else 0.0
    if frozen and thawed:
        done.doubt = _doubt(done, frozen, thawed, standing)
    if done.label == QUIET:
        done.label = _label(done, frozen)
    return done


def _freeze(freezer: Freezer | None, standing: OnDisks, budget: float, done: Cut) -> Frozen | None:
    if freezer is None or not any(not each.is_read_only for each in standing.filesystems):
        return None
    try:
        freezer.prepare(standing.filesystems)
        return freezer.freeze(budget, budget + GRACE_SECONDS)
    except FreezeError as error:
        done.failure = str(error)
        return None


def _read(rounds: Rounds, arena: Arena, done: Cut, deadline: float) -> None:
    """Take what was written up to now and read it; was anything written meanwhile?"""
    taken = rounds.take_for_cut(is_sparse=arena.is_sparse)
    done.source_time = datetime.now(UTC)
    fresh: list[Reading] = []
    for wanted in not_ahead(arena, taken):
        placed = arena.place(rounds.disk(wanted.key.disk), wanted)
        if placed is None:
            return
        fresh += placed
    again = stale(rounds, arena)
    try:
        arena.fill(fresh, deadline, again)
    except TooLate:
        return
    done.readings = arena.ahead + fresh
    done.read_bytes = sum(each.view.nbytes for each in fresh) + sum(each.ranges.total for each in again)
    done.is_complete = True
    done.was_writing = rounds.is_writing()
    done.label = FUZZY if rounds.is_written() else QUIET


def _label(done: Cut, frozen: Frozen | None) -> str:
    """The label where no write was seen: `frozen` if nobody could write from the freeze to the thaw."""
    if frozen and not done.doubt:
        return FROZEN
    return FUZZY if done.was_writing else QUIET


def _doubt(done: Cut, frozen: Frozen, thawed: Thawed, standing: OnDisks) -> str:
    """Why somebody could write from the freeze to the thaw; nothing if nobody could.

    A filesystem that knows no freezing, such as FAT, was written back: where nothing was written to the disks
    meanwhile, and no write is under way, it stood still as well.
    """
    if standing.raw:
        return "; ".join(each.reason for each in standing.raw)
    if not standing.is_complete:
        return "the mounts of some process cannot be seen"
    if frozen.unfrozen and done.was_writing:
        return "; ".join(f"{each.kind} at {each.target} knows no freezing" for each in frozen.unfrozen)
    if thawed.freezer_died or thawed.timer_fired:
        return "the source was thawed early"
    return "" if thawed.was_held else "; ".join(map(str, thawed.outcomes))


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
