"""A round over single blocks that were written all over the disks: nothing else of their chunks is read.

To read and send whole chunks for them would take many times as much of the source, and of the time.
"""

import time
from collections import deque
from collections.abc import Iterator
from typing import Final

from app.agent.daemon.following.arena import Arena, Reading, Wanted
from app.agent.daemon.following.handover import hand_over
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.pipeline.leaves import portions
from app.agent.daemon.pipeline.run import PassRunner
from app.wire.chunks import BLOCK, MIB

PORTION: Final = 32 * MIB
"""What is read before it is sent; in memory that is locked, as that of a cut."""
SECONDS: Final = 60.0
"""For a portion: a hard disk finds its 8,192 blocks in less."""
_TIMES: Final = 4
"""So many times as much as the blocks are their chunks, at least, where blocks are scattered."""


def is_scattered(rounds: Rounds) -> bool:
    """Whether what is left is single blocks all over. Raises TrackerGap."""
    return rounds.left_blocks() * _TIMES <= rounds.left()


def send_written(rounds: Rounds, runner: PassRunner) -> None:
    """Send what was taken, a portion at a time. Raises BlocksRefused, TooLate for a disk that needs longer,
    and what a round raises."""
    with Arena(PORTION, is_sparse=True) as arena:
        for readings in _placed(rounds, arena):
            with runner.reading(sum(reading.view.nbytes for reading in readings)):
                arena.fill(readings, time.monotonic() + SECONDS)
            hand_over(runner, readings, is_sparse=True)
            arena.empty()


def _placed(rounds: Rounds, arena: Arena) -> Iterator[list[Reading]]:
    """What was taken, as much of it at a time as the arena has room for."""
    left = deque(_small(rounds.wanted(is_sparse=True)))
    while left:
        readings: list[Reading] = []
        while left and (more := arena.place(rounds.disk(left[0].key.disk), left[0])) is not None:
            readings += more
            left.popleft()
        yield readings


def _small(wanted: list[Wanted]) -> Iterator[Wanted]:
    """The same cut so that each has room."""
    for each in wanted:
        for runs in portions(each.runs, PORTION // BLOCK):
            yield Wanted(each.key, tuple(runs))
