"""The invariants, checked after every action; a broken one is named with its number in the design.

I1  a label `frozen` or `quiet` is only there when all disks really had the checkpoint's content at one
    instant of the time in which it was read.
I2  all that a retained checkpoint reaches is durable and hashes right: roots, leaves, chunks with what
    their deltas stand on, and the checkpoint's own file. Retained is each that the policy keeps by the time
    at which it was made, however the source's clock jumps.
I3  an acknowledged commit stays in the history of heads, and that history is a single line.
I4  the head never goes back in source time, neither the real one nor the stated one.
I5  each chunk of a checkpoint is what the source held there at some instant of the reading; the end of a
    run adds that the replica equals the source once faults have stopped.
I6  a boot reads the content of one checkpoint (see `Cluster.boot`).
I7  is about cutover, which the product does not have yet: nothing is checked.
I8  what is done for one server leaves the others as they are, and a checkpoint holds nothing that its
    source never held: a bare id is no possession.
No answer is an internal error.
"""

from tests.faults.protocol import words
from tests.faults.protocol.cluster import Ended
from tests.faults.protocol.collecting import POLICY
from tests.faults.protocol.source import flatten
from tests.faults.protocol.storage import CheckpointRow, readable
from tests.faults.protocol.words import ZERO, ZERO_LEAF, Committed, Refusal
from tests.faults.protocol.world import World


class Violation(Exception):
    """An invariant is broken."""


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


class Checker:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._service = world.service
        self._heads: dict[str, list[int]] = {name: [0] for name in world.plan.shape}
        self._lows: dict[str, int] = dict.fromkeys(world.plan.shape, 0)
        self._times: dict[str, int] = {}
        self._made: dict[int, int] = {}
        self._others = self._standing()
        self._seen = (-1, -1)

    def check(self) -> None:
        """After an action. Raises Violation."""
        cluster = self._world.cluster
        _demand(not cluster.fault, cluster.fault)
        if not cluster.acting and cluster.ended is None and self._state() == self._seen:
            return
        self._only_own(cluster.acting)
        self._heads_go_on()
        if self._state() != self._seen:
            self._young_is_retained()
            self._retained_is_whole()
            self._seen = self._state()
        if cluster.ended is not None:
            self._answered(cluster.ended)

    def _state(self) -> tuple[int, int]:
        return self._service.store.changes, self._service.rows.changes

    # I8

    def _standing(self) -> dict[str, tuple[int, int]]:
        return {name: (row.generation, row.head) for name, row in self._service.rows.servers.items()}

    def _only_own(self, acting: str) -> None:
        now = self._standing()
        for name, standing in now.items():
            _demand(
                name == acting or standing == self._others[name], f"I8: server {name} changed for {acting}"
            )
        self._others = now

    # I3, I4, and at a new head I1, I5, I8

    def _heads_go_on(self) -> None:
        for name, row in self._service.rows.servers.items():
            heads = self._heads[name]
            if row.head != heads[-1]:
                checkpoint = self._service.rows.checkpoints[row.head]
                _demand(checkpoint.parent == heads[-1], f"I3/I4: head {row.head} does not follow {heads[-1]}")
                heads.append(row.head)
                self._new_head(checkpoint)

    def _new_head(self, row: CheckpointRow) -> None:
        before = self._times.get(row.server, row.source_time)
        _demand(row.source_time >= before, "I4: the head's stated source time went back")
        _demand(row.ghost.low >= self._lows[row.server], "I4: the head went back in source time")
        self._times[row.server], self._lows[row.server] = row.source_time, row.ghost.low
        self._made[row.id] = row.made_at
        self._content_is_true(row)

    def _content_is_true(self, row: CheckpointRow) -> None:
        source = self._world.hosts.sources[row.server]
        content = flatten(row.roots)
        strange = set(content) - source.ever - {ZERO}
        _demand(not strange, f"I8: checkpoint {row.id} holds {strange}, which {row.server} never held")
        states = source.states[row.ghost.low : row.ghost.high + 1]
        for position, value in enumerate(content):
            held = any(state[position] == value for state in states)
            _demand(held, f"I5: {row.server}[{position}] is {value}, which it was not while it was read")
        true = row.label == words.FUZZY or content in states
        _demand(true, f"I1: checkpoint {row.id} is not {row.label}: no instant had this content")

    # I2

    def _young_is_retained(self) -> None:
        now, most = self._service.now, POLICY.every.total_seconds()
        young = {name for name, made_at in self._made.items() if now - made_at <= most}
        lost = young - self._service.rows.checkpoints.keys()
        _demand(not lost, f"I2: checkpoints {sorted(lost)} were dropped, which retention keeps")

    def _retained_is_whole(self) -> None:
        rows, store = self._service.rows, self._service.store
        nodes = {key[:2] for key in store.durable}
        for row in rows.checkpoints.values():
            _demand(("file", row.id) in nodes, f"I2: checkpoint {row.id} has no durable file")
            for root in row.roots:
                _demand(("root", root) in nodes, f"I2: a root of checkpoint {row.id} is gone")
                leaves = [leaf for leaf in root if leaf != ZERO_LEAF]
                lost = [leaf for leaf in leaves if ("leaf", leaf) not in nodes]
                _demand(not lost, f"I2: leaves {lost} of checkpoint {row.id} are gone")
                for value in {value for leaf in leaves for value in leaf} - {ZERO}:
                    whole = readable(rows, store, value, durable=True)
                    _demand(whole, f"I2: chunk {value} of checkpoint {row.id} is gone or not durable")

    # answers

    def _answered(self, ended: Ended) -> None:
        answer = ended.answer
        if isinstance(answer, Committed):
            known = answer.checkpoint in self._heads[ended.server]
            _demand(known, f"I3: checkpoint {answer.checkpoint} was acknowledged and never was a head")
        if isinstance(answer, Refusal):
            _demand(answer.code != "INTERNAL", f"an internal error was the answer to {ended.request}")
