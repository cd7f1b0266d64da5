"""Running a seed: a phase of faults, then the healing, checked all the way; replaying and shrinking.

The faults: messages lost, doubled, delayed, out of order and cut off; agents killed, stopped and continued,
a second instance (sometimes a clone) of the same server; service crashes at any await point; unsynced data
forgotten; garbage collection (two at a time), leaps of the service's clock forward and of the sources' in any
direction at any moment; lost tracker events, a freezer's timer; a thief.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.faults.protocol.healing import Healing
from tests.faults.protocol.invariants import Checker, Violation
from tests.faults.protocol.journal import Journal
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.scenario import GENTLE, scenario
from tests.faults.protocol.world import Action, Chooser, World

FAULT_STEPS: Final = 2500
Told = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What became of a run. `violation` is empty for a good one, `actions` are those of the faulty phase
    that did something, `steps` counts the healing too."""

    seed: int
    steps: int
    counts: Counter[str]
    violation: str
    actions: tuple[Action, ...]
    commits: int
    in_healing: bool = False

    @property
    def faults(self) -> Counter[str]:
        """The faults among the actions, by kind."""
        return Counter({kind: number for kind, number in self.counts.items() if kind not in GENTLE})


def run(
    seed: int,
    mutant: Mutant | None = None,
    *,
    steps: int = FAULT_STEPS,
    is_coarse: bool = False,
    journal: Journal | None = None,
    heals: bool = True,
) -> Outcome:
    """Explore one seed."""
    plan = scenario(seed)
    world = World(plan, mutant, is_coarse=is_coarse, journal=journal)
    chooser = Chooser(plan)
    return _play(seed, world, [chooser.next() for _ in range(steps)], heals=heals)


def replay(
    seed: int, actions: Sequence[Action], mutant: Mutant | None, *, heals: bool, told: Told | None = None
) -> Outcome:
    """Run a schedule in the scenario of a seed; `told` hears of each action."""
    return _play(seed, World(scenario(seed), mutant), actions, heals=heals, told=told)


def _play(
    seed: int, world: World, actions: Sequence[Action], *, heals: bool, told: Told | None = None
) -> Outcome:
    checker, done, steps, violation = Checker(world), list[Action](), 0, ""
    try:
        for action in actions:
            what = world.do(action)
            if what is not None:
                done.append(action)
                if told is not None:
                    told(what)
                checker.check()
        steps = len(done)
        for _ in Healing(world).run() if heals else ():
            steps += 1
            checker.check()
    except Violation as broken:
        violation = str(broken)
    count = max(steps, len(done))
    return Outcome(seed, count, world.counts, violation, tuple(done), _commits(world), steps > 0)


def _commits(world: World) -> int:
    rows = world.service.rows
    return sum(rows.checkpoints[row.head].number for row in rows.servers.values() if row.head)


def shortest(found: Outcome, mutant: Mutant | None, most: int = 2000) -> tuple[Action, ...]:
    """The schedule without what is not needed for it: the same invariant is broken, at the latest while
    healing if that is when it was found. At most `most` shorter ones are tried."""
    kind = _kind(found.violation)

    def still(actions: Sequence[Action]) -> bool:
        return _kind(replay(found.seed, actions, mutant, heals=found.in_healing).violation) == kind

    return _reduced(found.actions, still, most)


def _kind(violation: str) -> str:
    return violation.partition(":")[0]


def _reduced(
    actions: tuple[Action, ...], still: Callable[[Sequence[Action]], bool], most: int
) -> tuple[Action, ...]:
    """Take runs of actions away, ever shorter ones, as long as it still fails."""
    size, tries = len(actions) // 2, 0
    while size and tries < most:
        at = 0
        while at < len(actions) and tries < most:
            shorter, tries = actions[:at] + actions[at + size :], tries + 1
            if still(shorter):
                actions = shorter
            else:
                at += size
        size //= 2
    return actions
