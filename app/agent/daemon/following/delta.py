"""A pass over what was written since the head: rounds until little is left, then the cut.

The algorithm is that of the live migration of virtual machines: what is written during a round is the work
of the next one, and rounds get shorter as long as the way to the service is faster than the writers. What is
left then fits into memory and is read while the source stands still.

A cut reads whole chunks where they fit, so that this end names them. Single blocks that are written all over
a disk touch more chunks than that: of those a round or the cut reads nothing but the blocks (it is *sparse*),
and the service names what it makes of them.
"""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from app.agent.daemon.capture.activity import FUZZY
from app.agent.daemon.disk.mounts import open_mount
from app.agent.daemon.disk.standing import OnDisks, Standing
from app.agent.daemon.following.ahead import read_ahead
from app.agent.daemon.following.arena import MOST_BYTES, Arena, TooLate
from app.agent.daemon.following.cut import Cut, cut
from app.agent.daemon.following.handover import hand_over
from app.agent.daemon.following.restless import Chunks
from app.agent.daemon.following.rounds import Left, Rounds
from app.agent.daemon.following.scattered import is_scattered, send_written
from app.agent.daemon.freezer import kernel
from app.agent.daemon.freezer.client import BUDGET_SECONDS, Freezer
from app.agent.daemon.pipeline.blockwise import BlocksRefused
from app.agent.daemon.pipeline.leaves import LeafTask, without
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.tracking.blocks import BlockSet
from app.wire.chunks import BLOCK, MIB

MAX_ROUNDS: Final = 12
FRUITLESS_ROUNDS: Final = 2
"""Rounds one after the other that left hardly less than one before, after which no more are tried: the
writers are as fast as the rounds, and a checkpoint without a cut is better now than later."""
_LESS: Final = 0.9
MAX_CUTS: Final = 4
RAW_CUTS: Final = 2
"""Where somebody writes past all filesystems: holding these still again and again would not help."""
MOST_LEAVES: Final = 1024
"""Leaves kept in memory by a pass: 32 MiB, thrice that while they are done. A pass that touches more is
committed without a cut first."""
SPARE: Final = 16 * MIB
"""Of the arena, for chunks that are written to for the first time while the source is being frozen."""
MOST_LEFT: Final = MOST_BYTES - SPARE
"""What may be left for a cut, in whole chunks: they are read ahead, and only what is written to meanwhile is
read within the budget."""

FEW_PLACES: Final = 4096
"""In which the blocks of a sparse cut may be: about as many as a hard disk finds in the time for reading
ahead, in which the owner's programs are held. More of them go by a round before; a cut takes up to
MOST_PLACES where rounds leave no less."""
MOST_PLACES: Final = MOST_LEFT // BLOCK

MOST_WAITING: Final = MOST_LEFT - SPARE // 2
"""What of a first round may wait: the rest of MOST_LEFT is for what is written during it."""


@dataclass(frozen=True)
class Outcome:
    """How a pass over writes ended: its last cut, and the rounds before it. `detail` says why it is not as it
    should be."""

    cut: Cut
    rounds: int
    read_bytes: int = 0
    detail: str = ""


@dataclass
class _Trend:
    """Of what rounds leave: does it get less?"""

    least: float = math.inf
    rounds: int = 0

    def fruitless(self, left: int) -> int:
        """How many rounds, this one the last of them, left hardly less than one before."""
        self.rounds = 0 if left < _LESS * self.least else self.rounds + 1
        self.least = min(self.least, left)
        return self.rounds


class Hooks(Protocol):
    """What the owner of the host wants to be done around a freeze; results are told by it itself."""

    def before(self) -> None:
        """Just before the source is frozen."""

    def after(self) -> None:
        """The source is thawed, or was not frozen after all. Comes also where `before` failed half-way."""


class Delta:
    """One pass over the writes to all followed disks."""

    def __init__(
        self,
        rounds: Rounds,
        runner: PassRunner,
        freezer: Freezer | None,
        look: Callable[[], OnDisks],
        hooks: Hooks,
        budget: float = BUDGET_SECONDS,
        *,
        may_be_sparse: bool = True,
    ) -> None:
        """`look` finds what stands on the disks; a cut lasts `budget` seconds at most. If it may not be
        sparse, every id that is new is from a chunk that was read."""
        self._rounds = rounds
        self._runner = runner
        self._freezer = freezer
        self._look = look
        self._hooks = hooks
        self._budget = budget
        self._most_cuts = MAX_CUTS
        self._done = 0
        self._was_too_large = False
        self._may_be_sparse = may_be_sparse

    def run(self, extra: Mapping[str, BlockSet], others: list[LeafTask]) -> Outcome:
        """Do the rounds and the cut. `extra` are blocks to be read besides, by their disks' keys, `others`
        leaves of disks that are not followed. Raises what a round raises, TrackerGap, RescanNeeded.

        The followed disks have the label of the cut when this returns.
        """
        write_back(self._look().filesystems)
        outcome = self._begin(extra, others) or self._catch_up() or self._cut()
        assert self._rounds.is_delivered, "what was taken is with the service before a commit drops it"
        for each in self._rounds.disks:
            each.capture.label = outcome.cut.label
        return outcome

    def _begin(self, extra: Mapping[str, BlockSet], others: list[LeafTask]) -> Outcome | None:
        """The first round. What will be written to again waits for the cut, or all of it where it is little;
        but nothing of `extra`: a disk may give that only after seconds of trying, or not at all."""
        tasks = self._rounds.take_all(extra)
        if len(tasks) > MOST_LEAVES:
            return self._only_round(tasks + others)
        if any(extra.values()):
            self._round(tasks + others)
        elif others or not (self._fits(left := self._rounds.left()) or self._sparse_round(left)):
            waiting = self._rounds.restless(MOST_WAITING)
            now = [without(task, waiting.get(task.key.disk, ())) for task in tasks]
            self._round([task for task in now if task] + others, waiting)
        return None

    def _only_round(self, tasks: list[LeafTask]) -> Outcome:
        """Send these leaves, which are too many to be kept for a cut, and be done."""
        self._rounds.keep_no_leaves()
        self._round(tasks)
        return Outcome(Cut(), self._done, detail=f"{len(tasks)} leaves were written to: more than are kept")

    def _catch_up(self) -> Outcome | None:
        """Rounds until little is left; the end where that does not come."""
        trend = _Trend()
        while not self._fits(left := self._rounds.left()):
            size = left.blocks if self._may_be_sparse else left.chunks
            is_full = self._rounds.leaves() > MOST_LEAVES
            is_vain = self._done >= MAX_ROUNDS or trend.fruitless(size) >= FRUITLESS_ROUNDS
            if self._done and is_vain and self._fits(left, MOST_PLACES):
                break
            if self._done and (is_vain or is_full):
                self._round(self._rounds.undone())
                return Outcome(Cut(), self._done, detail=_unfinished(size, self._done))
            write_back(self._look().filesystems)
            tasks = self._rounds.take()
            if is_full:
                return self._only_round(tasks)
            self._round_of(tasks)
        return None

    def _round(self, tasks: list[LeafTask], waiting: Chunks = MappingProxyType({})) -> None:
        """Send these leaves; what is `waiting` is still to be done."""
        if tasks:
            self._runner.do(tasks)
            self._done += 1
        self._rounds.delivered(waiting)

    def _round_of(self, tasks: list[LeafTask]) -> None:
        """Send what was taken, these leaves: their blocks alone where these are scattered."""
        if not self._sparse_round(self._rounds.left()):
            self._round(tasks)

    def _sparse_round(self, left: Left) -> bool:
        """Send what was taken in blocks, where what is left is scattered; whether that was done."""
        if not (self._may_be_sparse and is_scattered(left)):
            return False
        try:
            send_written(self._rounds, self._runner)
        except (BlocksRefused, TooLate):
            self._may_be_sparse = False
            return False
        self._done += 1
        self._rounds.delivered()
        return True

    def _fits(self, left: Left, most_places: int | None = None) -> bool:
        """Whether a cut can take what is left: the chunks, or their written blocks in at most so many places
        (FEW_PLACES)."""
        most_places = FEW_PLACES if most_places is None else most_places
        in_blocks = self._may_be_sparse and left.blocks <= MOST_LEFT and left.places <= most_places
        return left.chunks <= MOST_LEFT or in_blocks

    def _cut(self) -> Outcome:
        for number in range(1, MAX_CUTS + 1):
            tried, read = self._one_cut()
            if tried.is_complete and (tried.label != FUZZY or number >= self._most_cuts):
                return Outcome(tried, self._done, read, tried.failure or tried.doubt)
            if not tried.is_complete:
                self._may_be_sparse = self._may_be_sparse and not self._was_too_large
                self._was_too_large = True
                self._round_of(self._rounds.take())
        return Outcome(
            tried, self._done, detail=f"{MAX_CUTS} cuts were over the budget of {self._budget:g} s"
        )

    def _one_cut(self) -> tuple[Cut, int]:
        standing = self._look()
        self._rounds.note_swap(standing)
        self._most_cuts = RAW_CUTS if standing.raw else MAX_CUTS
        with ExitStack() as undo:
            with self._owner_told():
                write_back(standing.filesystems)
                left = self._rounds.left()
                is_sparse = self._may_be_sparse and left.chunks > MOST_LEFT
                arena = undo.enter_context(Arena(self._arena_bytes(left, is_sparse), is_sparse=is_sparse))
                done = self._read(arena, standing)
            if done.is_complete:
                done.is_complete = self._handed_over(done, is_sparse)
            done.readings = []
        return done, done.read_bytes

    def _handed_over(self, done: Cut, is_sparse: bool) -> bool:
        """Whether the service has what the cut read; where it cannot build on its own chunks it needs whole
        ones, which were not read."""
        try:
            hand_over(self._runner, done.readings, is_sparse=is_sparse)
        except BlocksRefused:
            self._may_be_sparse, done.label = False, FUZZY
            return False
        self._rounds.delivered()
        return True

    def _read(self, arena: Arena, standing: OnDisks) -> Cut:
        """Read ahead, then cut; a disk that is too slow for the first is not waited for by the owner's
        programs: the next round reads it."""
        try:
            read_ahead(self._rounds, arena, SPARE // 2)
        except TooLate:
            return Cut()
        return cut(self._rounds, arena, self._freezer, standing, self._budget)

    @contextmanager
    def _owner_told(self) -> Iterator[None]:
        try:
            self._hooks.before()
            yield
        finally:
            self._hooks.after()

    def _arena_bytes(self, left: Left, is_sparse: bool) -> int:
        """Room for a cut; all that there may be after one that was too large."""
        if self._was_too_large:
            return MOST_BYTES
        return min(MOST_BYTES, SPARE + (left.blocks if is_sparse else SPARE + left.chunks))


def write_back(filesystems: Iterable[Standing]) -> None:
    """Let filesystems write their caches back, so that a cut finds little. One that cannot be opened any more
    was unmounted, which wrote it back."""
    for each in filesystems:
        if each.is_read_only:
            continue
        try:
            fd = open_mount(each.path, each.mount_id)
        except OSError:
            continue
        try:
            kernel.sync(fd)
        finally:
            os.close(fd)


def _unfinished(left: int, rounds: int) -> str:
    return f"{left} bytes were written during the last of {rounds} rounds: more than a cut can take"
