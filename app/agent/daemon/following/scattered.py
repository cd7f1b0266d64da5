"""A round over single blocks that were written all over the disks: nothing else of their chunks is read.

To read and send whole chunks for them would take many times as much of the source, and of the time.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from app.agent.daemon.following.arena import Arena, Reading, Wanted
from app.agent.daemon.following.handover import parts_of
from app.agent.daemon.following.rounds import Left, Rounds
from app.agent.daemon.pipeline.blockwise import Part
from app.agent.daemon.pipeline.leaves import LeafKey, leaf_runs
from app.agent.daemon.pipeline.run import PassRunner
from app.wire.chunks import BLOCK, MIB

PORTION: Final = 8 * MIB
"""What is read while the one before is on its way; in memory that is locked, as that of a cut. A whole number
of chunks of any size."""
SECONDS: Final = 30.0
"""For a portion: a hard disk finds its 2,048 blocks in less."""
_TIMES: Final = 4
"""So many times as much as the blocks are their chunks, at least, where blocks are scattered."""


def is_scattered(left: Left) -> bool:
    """Whether what is left is single blocks all over."""
    return left.blocks * _TIMES <= left.chunks


def send_written(rounds: Rounds, runner: PassRunner) -> None:
    """Send what was taken, a portion at a time. Raises BlocksRefused, TooLate for a disk that needs longer,
    and what a round raises."""
    wanted = rounds.wanted(is_sparse=True)
    with Arena(PORTION, is_sparse=True) as arena:

        def supply(keys: set[LeafKey]) -> Iterator[Part]:
            return _read(rounds, runner, [each for each in wanted if each.key in keys], arena)

        runner.take_blocks({each.key for each in wanted}, supply)


def _read(rounds: Rounds, runner: PassRunner, wanted: list[Wanted], arena: Arena) -> Iterator[Part]:
    for each in wanted:
        rounds.disk(each.key.disk).tally.announce(sum(count for _, count in each.runs) * BLOCK)
    for readings in _placed(rounds, wanted, arena):
        with runner.reading(sum(reading.view.nbytes for reading in readings)):
            arena.fill(readings, time.monotonic() + SECONDS)
        yield from parts_of(readings)
        arena.empty()


def _placed(rounds: Rounds, wanted: list[Wanted], arena: Arena) -> Iterator[list[Reading]]:
    """What is wanted, as much of it at a time as the arena has room for."""
    left = deque(_small(wanted))
    while left:
        readings: list[Reading] = []
        while left and (more := arena.place(rounds.disk(left[0].key.disk), left[0])) is not None:
            readings += more
            left.popleft()
        yield readings


def _small(wanted: list[Wanted]) -> Iterator[Wanted]:
    """The same cut so that each has room, and between chunks."""
    for each in wanted:
        extents = ((first * BLOCK, (first + count) * BLOCK) for first, count in each.runs)
        for runs in leaf_runs(extents, BLOCK, PORTION // BLOCK).values():
            yield Wanted(each.key, tuple(runs))
