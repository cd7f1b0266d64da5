"""The end of all faults: everything is delivered, nobody is stopped, and the replica must become the source.

One agent a server goes on: of two processes of the same server the other is killed, as an operator would.
Then time passes and garbage is collected until nothing is left that no checkpoint refers to.
"""

from collections.abc import Iterator
from typing import Final

from tests.faults.protocol.invariants import Violation
from tests.faults.protocol.source import flatten
from tests.faults.protocol.storage import Key
from tests.faults.protocol.world import World

ROUNDS: Final = 120
"""In each, everything that is under way arrives, and every agent works until it waits."""
DAYS: Final = 5


class Healing:
    """Heals a world; iterating over `run` does it action by action. Raises Violation at the end."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._since: dict[str, int] = {}

    def run(self) -> Iterator[None]:
        """Until every head equals its source, then until the store holds nothing else."""
        yield from self._calm_down()
        for number in range(ROUNDS):
            if self._is_healed():
                break
            yield from self._round(number)
        else:
            raise Violation(f"liveness: {self._behind()} after {ROUNDS} rounds without a fault")
        yield from self._clean_up()

    def _do(self, kind: str, lane: int = 0, number: int = 0) -> Iterator[None]:
        if self._world.do((kind, lane, number)) is not None:
            yield

    def _calm_down(self) -> Iterator[None]:
        hosts = self._world.hosts
        for server, source in hosts.sources.items():
            processes = [process for process in hosts.processes if process.plan.server == server]
            chosen = next((p for p in processes if p.life is not None), processes[0])
            for process in processes:
                if process is not chosen and process.life is not None:
                    process.kill()
            chosen.stopped = False
            chosen.life = chosen.life or chosen.agent.life()
            source.dead_man()
            while source.pending:
                source.advance(0)
            self._since[server] = source.version
        yield

    def _round(self, number: int) -> Iterator[None]:
        cluster = self._world.cluster
        while cluster.requests:
            yield from self._do("deliver", cluster.requests[0].lane)
        while cluster.tasks:
            yield from self._do("task", cluster.tasks[0].lane)
        while cluster.answers:
            yield from self._do("answer", cluster.answers[0].lane)
        for process in self._world.processes:
            if process.is_waiting:
                process.take(process.calls, None)
        for step in range(30 * len(self._world.processes)):
            yield from self._do("agent", step % len(self._world.processes))
        if number % 4 == 3:
            yield from self._do("tick", number=1)
        if number % 24 == 23:
            yield from self._do("tick", number=4)
            yield from self._do("collect")

    def _is_healed(self) -> bool:
        return not self._behind()

    def _behind(self) -> list[str]:
        rows = self._world.service.rows
        behind = []
        for server, source in self._world.hosts.sources.items():
            head = rows.checkpoints.get(rows.servers[server].head)
            fresh = head is not None and head.ghost.low >= self._since[server]
            if head is None or not fresh or flatten(head.roots) != tuple(source.content):
                behind.append(f"the replica of {server} is not its source")
        return behind

    def _clean_up(self) -> Iterator[None]:
        """Days without agents: what is garbage goes, what is retained stays."""
        cluster, service = self._world.cluster, self._world.service
        for process in self._world.processes:
            if process.life is not None:
                process.kill()
        cluster.requests.clear()
        cluster.answers.clear()
        for _ in range(DAYS):
            while cluster.tasks:
                yield from self._do("task", cluster.tasks[0].lane)
            yield from self._do("tick", number=4)
            yield from self._do("collect")
        while cluster.tasks:
            yield from self._do("task", cluster.tasks[0].lane)
        roots = [root for row in service.rows.checkpoints.values() for root in row.roots]
        reachable: set[Key] = {("root", root) for root in roots}
        reachable |= {("leaf", leaf) for root in roots for leaf in root}
        left = [key for key in service.store.listed("leaf") if key[:2] not in reachable]
        left += [key for key in service.store.listed("root") if key[:2] not in reachable]
        left += [key for key in service.store.listed("pack") if key[1] not in service.rows.packs]
        if left:
            raise Violation(f"garbage: {left} is still there after {DAYS} collections a day apart")
