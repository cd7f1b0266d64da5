"""The cut: freeze the source, read what is left of its writes, thaw. A true point in time of all disks.

While the source is frozen nothing of this program writes to a disk, logs, forks or loads code: what it needs
is made before, and the collector of garbage rests. Every failure and every late step thaws at once.
"""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from app.agent.daemon.capture.activity import FROZEN, FUZZY, QUIET
from app.agent.daemon.disk.standing import OnDisks
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.following.arena import Arena, Reading, TooLate
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.freezer.results import Thawed


@dataclass
class Cut:
    """What came of a try. `readings` hold what was left; `is_complete` is False where it did not fit into the
    memory or the budget: then it is still to be read. `source_time` is the moment that was cut at, `seconds`
    how long the source was frozen, `failure` why it could not be."""

    label: str = FUZZY
    is_complete: bool = False
    readings: list[Reading] = field(default_factory=list)
    seconds: float = 0.0
    source_time: datetime | None = None
    failure: str = ""

    @property
    def read_bytes(self) -> int:
        """What was read while the source was frozen."""
        return sum(reading.view.nbytes for reading in self.readings)


def cut(rounds: Rounds, arena: Arena, freezer: Freezer | None, standing: OnDisks, budget: float) -> Cut:
    """Try to cut. Without a freezer, or where freezing fails, nothing is frozen and the label says so.

    Raises DiskError, TrackerGap.
    """
    done = Cut()
    with _collector_at_rest():
        is_frozen = _freeze(freezer, standing, budget, done)
        began = time.monotonic()
        try:
            _read(rounds, arena, done, began + budget)
        finally:
            thawed = freezer.thaw() if freezer and is_frozen else None
    done.seconds = thawed.seconds if thawed else 0.0
    if done.is_complete:
        done.label = _label(done, standing, thawed)
    return done


def _freeze(freezer: Freezer | None, standing: OnDisks, budget: float, done: Cut) -> bool:
    if freezer is None or not any(not each.is_read_only for each in standing.filesystems):
        return False
    try:
        freezer.prepare(standing.filesystems)
        freezer.freeze(budget)
    except FreezeError as error:
        done.failure = str(error)
        return False
    return True


def _read(rounds: Rounds, arena: Arena, done: Cut, deadline: float) -> None:
    """Take what was written up to now and read it; was anything written meanwhile?"""
    tasks = rounds.take()
    done.source_time = datetime.now(UTC)
    for task in tasks:
        placed = arena.place(rounds.disk(task.key.disk), task)
        if placed is None:
            return
        done.readings += placed
    try:
        arena.fill(done.readings, deadline)
    except TooLate:
        return
    done.is_complete = True
    done.label = FUZZY if rounds.is_written() else QUIET


def _label(done: Cut, standing: OnDisks, thawed: Thawed | None) -> str:
    """Frozen where nothing could be written, and nothing was, from the freeze to the thaw."""
    if done.label == FUZZY or thawed is None or not thawed.was_held:
        return done.label
    return QUIET if standing.raw or not standing.is_complete else FROZEN


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
