"""Reading ahead of the cut: what is dirty now is read whole while the source still runs.

A chunk's id is the hash of all its bytes, but few of them change while the source is being frozen. So the
dirty sets are swapped and the chunks read **after** the swap; in the cut only those blocks of them are read
anew that were written since. A write that the swap missed is in the next one; a block that was read while it
was written to is read again: what stands in memory at the end is the disk of the freeze.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.following.arena import Arena, Stale
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.pipeline.leaves import LeafKey, LeafTask, chunks_of, without
from app.agent.daemon.pipeline.segment import run_bytes

SECONDS: Final = 20.0
"""For reading ahead: the owner's programs are held by their hooks meanwhile. A hard disk needs four."""


def read_ahead(rounds: Rounds, arena: Arena, spare: int) -> None:
    """Read what was written up to now, as far as it leaves `spare` bytes of the arena. Nothing of it is done
    with: the next take gives it again. Raises TooLate after SECONDS, DiskError, TrackerGap."""
    for task in rounds.take():
        placed = arena.place(rounds.disk(task.key.disk), task, spare)
        if placed is None:
            break
        arena.ahead += placed
    arena.fill(arena.ahead, time.monotonic() + SECONDS)


def not_ahead(arena: Arena, tasks: Iterable[LeafTask]) -> Iterator[LeafTask]:
    """What of these tasks was not read ahead."""
    there: dict[LeafKey, set[int]] = {}
    for reading in arena.ahead:
        there.setdefault(reading.key, set()).update(chunks_of(reading.runs))
    for task in tasks:
        left = without(task, there.get(task.key, ()))
        if left is not None:
            yield left


def stale(rounds: Rounds, arena: Arena) -> list[Stale]:
    """The blocks of what was read ahead that the last take says were written to since."""
    found = []
    for reading in arena.ahead:
        latest = rounds.latest(reading.key.disk)
        unit, size = reading.disk.base.chunk_size, reading.disk.reader.size
        for number, run in enumerate(reading.runs):
            ranges = Extents.of(latest.within(*run_bytes(run, unit, size)))
            if len(ranges):
                found.append(Stale(reading, number, ranges))
    return found
