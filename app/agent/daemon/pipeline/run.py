"""A pass over all disks, in rounds of reading, hashing and sending, each until all of it is with the service.

A round is over when none of its leaves comes back: leaves are done again when their put was lost or refused
in part. A pass over whole disks is one round, and another one where free space that was left out turned out
not to be trusted. A pass over what was written is as many rounds as it takes to have little left, then the
cut.

Memory: BUFFERS segments of 16 MiB and FRAMES frames of about 2 MiB, whatever the number of disks.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from app.agent.daemon.errors import AgentError
from app.agent.daemon.pipeline.blockwise import BlocksRefused, Part, WrittenBlocks
from app.agent.daemon.pipeline.channel import Aborted, Channel, Crew
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.framememory import FrameMemory
from app.agent.daemon.pipeline.hasher import Hasher
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey, LeafTask, ReadyLeaf
from app.agent.daemon.pipeline.outgoing import Outgoing
from app.agent.daemon.pipeline.packer import Packer
from app.agent.daemon.pipeline.scan import Stages, scan
from app.agent.daemon.pipeline.segment import Segment
from app.agent.daemon.pipeline.sender import Lost, Sender
from app.agent.daemon.service import Session
from app.agent.daemon.stopping import Stop
from app.agent.daemon.yielding import Gate
from app.wire.memory import aligned
from app.wire.messages import Counters

BUFFERS: Final = 5
FRAMES: Final = 12
READERS: Final = 4
"""Disks that are read at the same time, at most."""
MAX_HASHERS: Final = 4
MAX_ROUNDS: Final = 10
"""Tries one after the other in which the service got nothing that it lacked."""

Work = Callable[[], None]
Produce = Callable[["Round", set[LeafKey]], list[Work]]
"""What the producing threads of a round do for these leaves."""
Capture = Callable[[set[LeafKey]], list[Segment]]
"""Segments of these leaves that were read already, made anew each time."""
Supply = Callable[[set[LeafKey]], Iterator[Part]]
"""What is written of these leaves, read part by part: the one before may be forgotten then."""


class PassRunner:
    """Runs one pass of a session over its disks; reading passes `gate`, which is open if none is given."""

    def __init__(
        self, session: Session, disks: tuple[DiskPass, ...], stop: Stop, gate: Gate | None = None
    ) -> None:
        self._session = session
        self._disks = disks
        self._stop = stop
        self._gate = gate or Gate()
        self._lost = Lost()
        self.stored_bytes = 0

    def run(self) -> None:
        """Copy all disks as a whole. Raises DiskError, LinkError, Refusal, Stopped."""
        self.do([task for disk in self._disks for task in disk.tasks])
        self.settle()

    def do(self, tasks: Sequence[LeafTask]) -> None:
        """One round over these leaves. Raises DiskError, LinkError, Refusal, Stopped."""
        by_key = {task.key: task for task in tasks}
        self._until_done(set(by_key), lambda work, keys: work.scanning([by_key[key] for key in keys]))

    def take(self, keys: set[LeafKey], captured: Capture) -> None:
        """One round over segments that were read already. Raises LinkError, Refusal, Stopped."""
        self._until_done(keys, lambda work, again: work.handing_on(captured(again)))

    def take_blocks(self, keys: set[LeafKey], supply: Supply) -> None:
        """One round over leaves of which only written blocks are read. Raises BlocksRefused, LinkError,
        Refusal, RescanNeeded, Stopped, and what the supply raises."""
        leaves: dict[LeafKey, WrittenBlocks] = {}
        self._session.refused_blocks.clear()
        self._until_done(keys, lambda work, again: work.blocks(again, supply, leaves))
        for leaf in leaves.values():
            ready = leaf.disk.record(leaf.done(self._session.named))
            assert ready is None, "a pass of several rounds keeps its leaves until it settles"
        self._session.named.clear()
        for disk in self._disks:
            disk.settle(())

    @contextmanager
    def reading(self, size: int) -> Iterator[None]:
        """For a supply: wait until `size` bytes may be read, which the block does. Raises Aborted."""
        with self._gate.reading(size, self._session.is_over) as may_read:
            if not may_read:
                raise Aborted
            yield

    def settle(self) -> None:
        """Judge the disks, do again what was left out in vain, and send the leaves that were done in part."""
        while tasks := self._recheck():
            self.do(tasks)
        unsent = {leaf.key: leaf for disk in self._disks for leaf in disk.unsent_leaves()}
        self._until_done(set(unsent), lambda work, again: work.leaves([unsent[key] for key in again]))

    def _recheck(self) -> list[LeafTask]:
        """Judge each disk; the leaves whose omission did not hold."""
        again: list[LeafTask] = []
        for disk in self._disks:
            disk.reader.require_unchanged()
            verdict = disk.capture.recheck()
            disk.label = verdict.label
            again += disk.tasks_of(verdict.spoilt)
        return again

    def _until_done(self, keys: set[LeafKey], produce: Produce) -> None:
        fruitless = 0
        while keys:
            if fruitless == MAX_ROUNDS:
                raise AgentError(
                    f"{len(keys)} leaves could not be sent in {MAX_ROUNDS} tries",
                    code="NOT_CONVERGING",
                    remedy="look at the service's log for why it refuses them",
                )
            again, delivered = self._try(keys, produce)
            fruitless = 0 if delivered else fruitless + 1
            for disk in self._disks:
                disk.settle(again)
            keys = again

    def _try(self, keys: set[LeafKey], produce: Produce) -> tuple[set[LeafKey], int]:
        """The leaves to be done again, and how many chunks the service got that it lacked."""
        try:
            with _stoppable_crew(self._stop) as crew:
                self._session.is_over = crew.aborted.is_set
                self._session.is_broken_off = lambda: crew.aborted.is_set() and not crew.rests
                work = Round(crew, self._session, self._disks, self._lost, self._gate)
                again = work.run(produce(work, keys))
        finally:
            self._session.is_over = self._session.is_broken_off = lambda: self._stop.is_set
        self.stored_bytes += work.stored_bytes
        return again, work.delivered


@contextmanager
def _stoppable_crew(stop: Stop) -> Iterator[Crew]:
    """A crew that ends with the block, at the latest, and when the agent is told to stop."""
    crew = Crew()

    def abort() -> None:
        crew.fail(stop.failure())

    stop.listen(abort)
    try:
        stop.check()
        yield crew
    finally:
        stop.unlisten(abort)
        crew.aborted.set()
        crew.join_all()


class Round:
    """The threads and channels of one try of a round."""

    def __init__(
        self, crew: Crew, session: Session, disks: tuple[DiskPass, ...], lost: Lost, gate: Gate
    ) -> None:
        self._crew = crew
        self._session = session
        self._by_number = disks
        self._disks = Channel[tuple[DiskPass, list[LeafTask]]](crew, max(1, len(disks)))
        self._buffers = Channel[memoryview](crew, BUFFERS)
        self._segments = Channel[Segment](crew, BUFFERS)
        self._frames = Channel[Outgoing](crew, FRAMES)
        packer, memory = Packer(), FrameMemory()
        self._sender = Sender(session, self._frames, packer.sent, lost, memory)
        self._hasher = Hasher(session, self._segments, self._frames.put, packer, memory)
        self._stages = Stages(
            self._buffers, self._segments, self._hasher.finish_leaf, gate, crew.aborted.is_set
        )

    @property
    def stored_bytes(self) -> int:
        """What the store grew by."""
        return self._sender.stored_bytes

    @property
    def delivered(self) -> int:
        """How many chunks the service got that it lacked."""
        return self._sender.delivered

    def scanning(self, tasks: list[LeafTask]) -> list[Work]:
        """Read these leaves from the disks, several disks at a time."""
        for disk in self._by_number:
            own = sorted((task for task in tasks if task.key.disk == disk.number), key=lambda t: t.key.index)
            if own:
                disk.tally.announce(disk.bytes_of(own))
                self._disks.put((disk, own))
        self._disks.close()
        for _ in range(BUFFERS):
            self._buffers.put(aligned(SEGMENT))
        return [self._read] * READERS

    def handing_on(self, segments: list[Segment]) -> list[Work]:
        """Hand on what was read already."""

        def put() -> None:
            for segment in segments:
                segment.disk.tally.announce(segment.covers)
            for segment in segments:
                self._segments.put(segment)

        return [put]

    def blocks(self, keys: set[LeafKey], supply: Supply, leaves: dict[LeafKey, WrittenBlocks]) -> list[Work]:
        """Send written blocks of these leaves, which are then among `leaves`. Raises BlocksRefused where the
        service refused some before."""
        if self._session.refused_blocks:
            raise BlocksRefused
        for key in keys:
            leaves.pop(key, None)

        def send() -> None:
            for part in supply(keys):
                if part.key not in leaves:
                    leaves[part.key] = WrittenBlocks(part.disk, part.key)
                leaves[part.key].send(part, self._hasher.builder(part.disk, part.key))
                part.disk.tally.add(Counters(), seen=part.covers)

        return [send]

    def leaves(self, ready: list[ReadyLeaf]) -> list[Work]:
        """Send leaves."""

        def send() -> None:
            for disk in self._by_number:
                own = [leaf for leaf in ready if leaf.key.disk == disk.number]
                self._hasher.send_leaves(disk, own)

        return [send]

    def run(self, producing: list[Work]) -> set[LeafKey]:
        """Do the work; the leaves to be done again. Raises what any thread raised."""
        crew = self._crew
        hashers = min(MAX_HASHERS, max(2, os.cpu_count() or 2))
        producers = [crew.start(f"produce-{number}", work) for number, work in enumerate(producing)]
        hashing = [crew.start(f"hash-{number}", self._hasher.run) for number in range(hashers)]
        sending = [crew.start("send", self._sender.run)]
        crew.join(producers)
        self._segments.close()
        crew.join(hashing)
        self._frames.close()
        crew.join(sending)
        return self._sender.redo

    def _read(self) -> None:
        while (item := self._disks.get()) is not None:
            scan(*item, self._stages)
