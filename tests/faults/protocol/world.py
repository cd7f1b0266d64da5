"""The world: source hosts, a network, the service, and one scheduler over them all.

Nothing happens but by an action: a kind, a lane (an agent process, or garbage collection) and a number, which
chooses among what the lane has at that moment (number modulo count). So every list of actions is a schedule,
also one from which some were taken away: that is what makes replaying and shrinking simple.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from random import Random
from typing import Final

from tests.faults.protocol.cluster import STEPS_OF_TIME, Cluster
from tests.faults.protocol.collecting import Service
from tests.faults.protocol.hosts import Hosts, Process
from tests.faults.protocol.journal import Journal
from tests.faults.protocol.mutants import Mutant
from tests.faults.protocol.scenario import Scenario

Action = tuple[str, int, int]
_RANGE: Final = 1 << 16


class World:
    """All of it. `is_coarse` stops operations only where the real services can be stopped, too."""

    def __init__(
        self,
        plan: Scenario,
        mutant: Mutant | None = None,
        *,
        is_coarse: bool = False,
        journal: Journal | None = None,
    ) -> None:
        self.plan = plan
        self.service = Service(plan.shape, mutant, packs_are_small=plan.packs_are_small)
        self.cluster = Cluster(self.service, journal or Journal(), is_coarse)
        self.hosts = Hosts(plan, lambda: self.service.now, mutant, self.cluster.send)
        self.counts: Counter[str] = Counter()
        self._deeds = self._all_deeds()

    def _all_deeds(self) -> dict[str, Callable[[int, int], str | None]]:
        hosts, cluster = self.hosts, self.cluster
        methods: tuple[Callable[[int, int], str | None], ...] = (
            *(hosts.write, hosts.land, hosts.dead_man, hosts.overrun),
            *(hosts.agent, hosts.timeout, hosts.kill, hosts.start, hosts.stop, hosts.resume),
            *(cluster.deliver, cluster.duplicate, cluster.drop, cluster.cut, cluster.answer, cluster.lose),
            *(cluster.task, cluster.collect, cluster.boot, cluster.crash, cluster.flush),
        )
        return {method.__name__: method for method in methods} | {
            "heartbeat": self._heartbeat,
            "tick": self._tick,
        }

    def _tick(self, lane: int, number: int) -> str:
        """Time passes, and a source's clock may jump meanwhile."""
        passed, rest = self.cluster.tick(lane, number), number // len(STEPS_OF_TIME)
        return f"{passed}; {self.hosts.set_clock(lane, rest // 2)}" if rest % 2 else passed

    def _heartbeat(self, lane: int, number: int) -> str | None:
        alive = [p for p in self.hosts.processes if p.lane == lane and p.life and not p.stopped]
        return self.cluster.heartbeat(alive[0]) if alive else None

    def do(self, action: Action) -> str | None:
        """Carry an action out and say what happened; None where there is nothing that it could be done to."""
        kind, lane, number = action
        self.cluster.acting, self.cluster.ended, self.cluster.fault = "", None, ""
        done = self._deeds[kind](lane, number)
        if done is not None:
            self.counts[kind] += 1
        return done

    @property
    def processes(self) -> list[Process]:
        """The agent processes."""
        return self.hosts.processes


class Chooser:
    """Chooses actions by the weights of a scenario, from its seed alone."""

    def __init__(self, plan: Scenario) -> None:
        self._chance = Random(plan.seed ^ 0x5EED)
        self._kinds = [kind for kind, weight in plan.weights.items() if weight]
        self._sums = list(accumulate(plan.weights[kind] for kind in self._kinds))
        self._speeds = list(accumulate(plan.speeds))

    def next(self) -> Action:
        """The next action, which may turn out to be impossible."""
        draw = self._chance.random
        kind = self._kinds[bisect(self._sums, draw() * self._sums[-1])]
        lane = bisect(self._speeds, draw() * self._speeds[-1])
        return kind, lane, int(draw() * _RANGE)
