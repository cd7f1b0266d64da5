"""The source host: disks that are written while agents read them, a tracker of writes, and the freezer.

A write is issued, lands (the content changes) and completes; the tracker hears of it when it completes.
Positions count the chunks of all disks in a row. Every content that the disks ever had is remembered, by
version: a version is the time between two landings.
"""

from dataclasses import dataclass, field

from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.words import LEAF_WIDTH, Ids, Root


@dataclass
class Write:
    """A write on its way; `issued` is the version at which it was issued."""

    position: int
    value: int
    issued: int
    landed: bool = False


@dataclass
class Tracker:
    """Dirty positions since it was started. `has_gap`: events were lost, as the counters show."""

    identity: int
    current: set[int] = field(default_factory=set)
    has_gap: bool = False
    deaf: bool = False
    """The next event is lost."""

    def hear(self, position: int) -> None:
        """An event."""
        if self.deaf:
            self.deaf, self.has_gap = False, True
        else:
            self.current.add(position)


@dataclass(frozen=True)
class Activity:
    """Completed writes, and writes in flight, at one moment."""

    completed: int
    in_flight: int


class Source:
    """The disks of one server."""

    def __init__(self, leaves: tuple[int, ...], initial: list[int], mutant: Mutant | None) -> None:
        """`leaves`: the number of leaves of each disk; `initial` the content of all positions."""
        self.leaves = leaves
        self.content = initial
        self.states: list[tuple[int, ...]] = [tuple(initial)]
        self.ever = set(initial)
        self.pending: list[Write] = []
        self.completed = 0
        self.trackers: dict[str, Tracker] = {}
        self.frozen_by = ""
        self.timer_fired = False
        self.clock_skew = 0
        self._started = 0
        self._mutant = mutant

    @property
    def version(self) -> int:
        """The present version."""
        return len(self.states) - 1

    @property
    def size(self) -> int:
        """Number of positions."""
        return len(self.content)

    # writes

    def issue(self, position: int, value: int) -> bool:
        """Begin a write; a frozen filesystem lets none begin, and one position has one at a time."""
        if self.frozen_by or any(write.position == position for write in self.pending):
            return False
        self.pending.append(Write(position, value, self.version))
        if self._mutant is Mutant.EVENTS_AT_ISSUE:
            self._tell(position)
        return True

    def advance(self, number: int) -> bool:
        """The write lands, or once landed completes."""
        if not self.pending:
            return False
        write = self.pending[number % len(self.pending)]
        if not write.landed:
            write.landed = True
            self.content[write.position] = write.value
            self.states.append(tuple(self.content))
            self.ever.add(write.value)
            return True
        self.pending.remove(write)
        self.completed += 1
        if self._mutant is not Mutant.EVENTS_AT_ISSUE:
            self._tell(write.position)
        return True

    def _tell(self, position: int) -> None:
        for tracker in self.trackers.values():
            tracker.hear(position)

    # what an agent can do

    def start_tracker(self, agent: str) -> Tracker:
        """A tracker that knows nothing of the time before; an agent has one."""
        self._started += 1
        self.trackers[agent] = Tracker(self._started)
        return self.trackers[agent]

    def activity(self) -> Activity:
        """The counters of the block layer."""
        in_flight = 0 if self._mutant is Mutant.IN_FLIGHT_IGNORED else len(self.pending)
        return Activity(self.completed, in_flight)

    def low(self) -> int:
        """The version since which all completed writes are in what is dirty or read: writes in flight may
        have landed without having been heard of."""
        return min([self.version, *(write.issued for write in self.pending)])

    def freeze(self, agent: str) -> bool:
        """Begin to freeze; False while another one has it frozen."""
        if self.frozen_by:
            return False
        self.frozen_by, self.timer_fired = agent, False
        return True

    def is_frozen(self, agent: str) -> bool:
        """Whether the agent has it frozen and no write is on its way."""
        return self.frozen_by == agent and not self.pending

    def thaw(self, agent: str) -> bool:
        """End of the freeze; whether it held all the time."""
        held = self.frozen_by == agent and not self.timer_fired
        if self.frozen_by == agent:
            self.frozen_by = ""
        return held

    def dead_man(self) -> bool:
        """The freezer's timer thaws."""
        if not self.frozen_by:
            return False
        self.frozen_by, self.timer_fired = "", True
        return True

    # shapes

    def positions(self, disk: int) -> range:
        """The positions of a disk."""
        start = sum(self.leaves[:disk]) * LEAF_WIDTH
        return range(start, start + self.leaves[disk] * LEAF_WIDTH)

    def root(self, ids: list[int], disk: int) -> Root:
        """The root of a disk whose positions hold `ids`."""
        place = self.positions(disk)
        leaves: list[Ids] = [tuple(ids[at : at + LEAF_WIDTH]) for at in place[::LEAF_WIDTH]]
        return tuple(leaves)


def flatten(roots: tuple[Root, ...]) -> tuple[int, ...]:
    """The content of all positions."""
    return tuple(value for root in roots for leaf in root for value in leaf)
