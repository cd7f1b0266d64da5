"""Reading ahead of the cut: what is dirty now is read while the source still runs.

Little of it changes while the source is being frozen. So the dirty sets are swapped and the chunks, or their
written blocks, read **after** the swap; in the cut only those blocks are read anew that were written since.
A write that the swap missed is in the next one; a block that was read while it was written to is read again:
what stands in memory at the end is the disk of the freeze.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Final

from app.agent.daemon.capture.extents import Extents
from app.agent.daemon.following.arena import Arena, Stale, Wanted
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.pipeline.leaves import LeafKey, Run
from app.wire.chunks import BLOCK

SECONDS: Final = 20.0
"""For reading ahead: the owner's programs are held by their hooks meanwhile. A hard disk needs four."""


def read_ahead(rounds: Rounds, arena: Arena, spare: int) -> None:
    """Read what was written up to now, as far as it leaves `spare` bytes of the arena. Nothing of it is done
    with: the next take gives it again. Raises TooLate after SECONDS, DiskError, TrackerGap."""
    for wanted in rounds.take_for_cut(is_sparse=arena.is_sparse):
        placed = arena.place(rounds.disk(wanted.key.disk), wanted, spare)
        if placed is None:
            break
        arena.ahead += placed
    arena.fill(arena.ahead, time.monotonic() + SECONDS)


def not_ahead(arena: Arena, wanted: Iterable[Wanted]) -> Iterator[Wanted]:
    """What of this was not read ahead."""
    there: dict[LeafKey, list[Run]] = {}
    for reading in arena.ahead:
        there.setdefault(reading.key, []).extend(reading.runs)
    for each in wanted:
        left = _blocks(each.runs).without(_blocks(there.get(each.key, ())))
        if len(left):
            yield Wanted(each.key, tuple((first, behind - first) for first, behind in left))


def _blocks(runs: Iterable[Run]) -> Extents:
    return Extents.of((first, first + count) for first, count in runs)


def stale(rounds: Rounds, arena: Arena) -> list[Stale]:
    """The blocks of what was read ahead that the last take says were written to since."""
    found = []
    for reading in arena.ahead:
        first, last = reading.runs[0], reading.runs[-1]
        latest = rounds.latest(reading.key.disk)
        written = Extents.of(latest.within(first[0] * BLOCK, sum(last) * BLOCK))
        for low, high, at in reading.places() if len(written) else ():
            ranges = Extents.of(written.within(low, high))
            if len(ranges):
                found.append(Stale(reading, low, at, ranges))
    return found
