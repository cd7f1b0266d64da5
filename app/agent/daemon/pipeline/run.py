"""A pass over all disks: rounds of reading, hashing and sending until every leaf is done for good.

A round takes the leaves that are still to do; the first takes all. Leaves come back when their put was
lost or refused in part, or when the free space that was left out turned out not to be trusted.

Memory: BUFFERS segments of 16 MiB and FRAMES frames of about 2 MiB, whatever the number of disks.
"""

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from app.agent.daemon.errors import AgentError
from app.agent.daemon.pipeline.channel import Channel, Crew
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.hasher import Hasher
from app.agent.daemon.pipeline.leaves import SEGMENT, LeafKey
from app.agent.daemon.pipeline.outgoing import Outgoing
from app.agent.daemon.pipeline.packer import Packer
from app.agent.daemon.pipeline.scan import Stages, scan
from app.agent.daemon.pipeline.segment import Segment
from app.agent.daemon.pipeline.sender import Sender
from app.agent.daemon.service import Session
from app.agent.daemon.stopping import Stop

BUFFERS: Final = 5
FRAMES: Final = 12
READERS: Final = 4
"""Disks that are read at the same time, at most."""
MAX_HASHERS: Final = 4
MAX_ROUNDS: Final = 10
"""Rounds one after the other in which the service got nothing that it lacked."""


class PassRunner:
    """Runs one pass of a session over its disks."""

    def __init__(self, session: Session, disks: tuple[DiskPass, ...], stop: Stop) -> None:
        self._session = session
        self._disks = disks
        self._stop = stop
        self._lost = 0
        self.stored_bytes = 0

    def run(self) -> None:
        """Copy all disks. Raises DiskError, LinkError, Refusal, Stopped, Paused."""
        todo = [key for disk in self._disks for key in disk.keys]
        fruitless = 0
        while fruitless < MAX_ROUNDS:
            again, delivered = self._round(todo)
            fruitless = 0 if delivered else fruitless + 1
            if not again:
                again = self._recheck()
            if not again:
                return
            todo = sorted(again, key=lambda key: (key.disk, key.index))
        raise AgentError(
            f"{len(todo)} leaves could not be sent in {MAX_ROUNDS} rounds",
            code="NOT_CONVERGING",
            remedy="look at the service's log for why it refuses them",
        )

    def _recheck(self) -> set[LeafKey]:
        """Judge each disk; the leaves whose omission did not hold."""
        again: set[LeafKey] = set()
        for disk in self._disks:
            disk.reader.require_unchanged()
            verdict = disk.capture.recheck()
            disk.label = verdict.label
            again.update(disk.keys_of(verdict.spoilt))
        return again

    def _round(self, todo: list[LeafKey]) -> tuple[set[LeafKey], int]:
        """The leaves to be done again, and how many chunks the service got that it lacked."""
        with _stoppable_crew(self._stop) as crew:
            work = _Round(crew, self._session, self._disks, todo, self._lost)
            again = work.run()
        self._lost = work.lost
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


class _Round:
    """The threads and channels of one round."""

    def __init__(
        self, crew: Crew, session: Session, disks: tuple[DiskPass, ...], todo: list[LeafKey], lost: int
    ) -> None:
        self._crew = crew
        self._disks = Channel[tuple[DiskPass, list[LeafKey]]](crew, len(disks))
        self._buffers = Channel[mmap.mmap](crew, BUFFERS)
        self._segments = Channel[Segment](crew, BUFFERS)
        self._frames = Channel[Outgoing](crew, FRAMES)
        packer = Packer()
        self._sender = Sender(session, self._frames, packer.sent, lost)
        self._hasher = Hasher(session, self._segments, self._buffers, self._frames.put, packer)
        self._stages = Stages(
            self._buffers,
            self._segments,
            lambda disk, start, count: session.leaves(disk.base.disk_id, start, count),
            self._hasher.finish_leaf,
        )
        for disk in disks:
            keys = [key for key in todo if key.disk == disk.number]
            if keys:
                self._disks.put((disk, keys))
        self._disks.close()

    @property
    def stored_bytes(self) -> int:
        """What the store grew by."""
        return self._sender.stored_bytes

    @property
    def lost(self) -> int:
        """How many requests in a row went wrong at the end."""
        return self._sender.lost

    @property
    def delivered(self) -> int:
        """How many chunks the service got that it lacked."""
        return self._sender.delivered

    def run(self) -> set[LeafKey]:
        """Do the leaves; those to be done again. Raises what any thread raised."""
        for _ in range(BUFFERS):
            self._buffers.put(mmap.mmap(-1, SEGMENT))
        crew = self._crew
        hashers = min(MAX_HASHERS, max(2, os.cpu_count() or 2))
        reading = [crew.start(f"read-{number}", self._read) for number in range(READERS)]
        hashing = [crew.start(f"hash-{number}", self._hasher.run) for number in range(hashers)]
        sending = [crew.start("send", self._sender.run)]
        crew.join(reading)
        self._segments.close()
        crew.join(hashing)
        self._frames.close()
        crew.join(sending)
        return self._sender.redo

    def _read(self) -> None:
        while (item := self._disks.get()) is not None:
            scan(*item, self._stages)
