"""The sending stage: one thread puts frames into requests and learns what became of them.

A request is closed after `put_bytes`, at MAX_BLOCKS_RECORDS, or when nothing came for a while, so that
little is ever unacknowledged; after a loss requests are smaller, until they get through again. While the
service makes one durable, the next one is filled already. What a lost request or a refusal concerned is not
kept: its leaves are done again, and the service's `have` then says what is left to send.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from app.agent.daemon.errors import LinkError, LinkRefused
from app.agent.daemon.link.answer import asked_pause
from app.agent.daemon.link.link import PATIENCE, PATIENT_AFTER, STALL_SECONDS
from app.agent.daemon.pipeline.channel import Aborted, Channel
from app.agent.daemon.pipeline.framememory import FrameMemory
from app.agent.daemon.pipeline.leaves import LeafKey
from app.agent.daemon.pipeline.outgoing import Outgoing
from app.agent.daemon.pipeline.packer import Sent
from app.agent.daemon.service import PutStream, Session
from app.wire.chunks import MIB
from app.wire.frames import MAX_BLOCKS_RECORDS, encode_end
from app.wire.messages import Counters, PutResult

PUT_BYTES: Final = 64 * MIB
"""Of one request; two may be unacknowledged."""
Step = Callable[[], None]
IDLE_SECONDS: Final = 3.0
SMALL_PUT_BYTES: Final = 8 * MIB
MAX_LOST: Final = 16
"""Requests lost one after the other before the pass is given up."""


@dataclass
class Lost:
    """Requests that were lost since the last that got through, and how many of them because nothing moved."""

    requests: int = 0
    stalls: int = 0


@dataclass
class _Request:
    """A put under way and the leaves that it concerns; `network` is how long the network had held it up, and
    `nameless` how many of its records the service will name."""

    put: PutStream
    leaves: set[LeafKey] = field(default_factory=set)
    network: float = 0.0
    nameless: int = 0


class Sender:
    """`redo` holds the leaves to be done again, `delivered` counts chunks that the service lacked and has
    now, and `stored_bytes` is what the store grew by."""

    def __init__(
        self,
        session: Session,
        frames: Channel[Outgoing],
        told: Callable[[Sent], None],
        lost: Lost,
        memory: FrameMemory,
    ) -> None:
        """`told` learns of each frame that went out, and `memory` gets it back; `lost` is what went wrong
        before, and is counted on."""
        self._session = session
        self._frames = frames
        self._told = told
        self._limit = max(MIB, min(PUT_BYTES, session.limits.put_bytes // 2))
        self._most = self._limit
        self._filling: _Request | None = None
        self._closing: tuple[_Request, Future[PutResult]] | None = None
        self._waiter = ThreadPoolExecutor(1, "await-put")
        self._lost = lost
        self._memory = memory
        self.redo: set[LeafKey] = set()
        self.stored_bytes = 0
        self.delivered = 0

    def run(self) -> None:
        """Send until the channel is closed; before a pause, let what is on its way become durable.

        Raises AgentError, Aborted.
        """
        try:
            while True:
                try:
                    frame = self._frames.get(IDLE_SECONDS if self._filling or self._closing else None)
                except TimeoutError:
                    self._guarded(self._finish)
                    continue
                if frame is None:
                    break
                self._send(frame)
            self._guarded(self._finish)
        except Aborted:
            if self._frames.rests:
                self._finish()
            raise
        finally:
            self._drop()
            self._waiter.shutdown()

    def _send(self, outgoing: Outgoing) -> None:
        if not self._guarded(lambda: self._write(outgoing)):
            self.redo |= outgoing.leaves

    def _write(self, outgoing: Outgoing) -> None:
        self._end_if_enough(outgoing.nameless)
        if self._filling is None:
            self._filling = _Request(self._session.begin_put(self._patience))
        request = self._filling
        request.leaves |= outgoing.leaves
        request.nameless += outgoing.nameless
        began = time.monotonic()
        request.put.write(outgoing.frame)
        outgoing.tally.add(Counters(wire=len(outgoing.frame)))
        self._told(Sent(outgoing.effort, outgoing.raw, _network(request, time.monotonic() - began)))
        self._memory.give_back(outgoing.frame)
        self._end_if_enough()

    def _end_if_enough(self, more: int = 0) -> None:
        """End a request that is large enough, or has no room for so many `more` nameless records."""
        request = self._filling
        if request is not None and (
            request.nameless + more > MAX_BLOCKS_RECORDS
            or not self._session.may_go_on(request.put, self._most)
        ):
            self._end()

    def _end(self) -> None:
        """Close the request that is being filled; its answer is awaited in another thread."""
        self._settle()
        if self._filling is None:
            return
        request, self._filling = self._filling, None
        self._closing = request, self._waiter.submit(_result, request.put)

    def _settle(self) -> None:
        """Learn what became of the request that was closed last."""
        if self._closing is None:
            return
        request, answer = self._closing
        result = answer.result()
        self._closing = None
        request.put.close()
        self._take(request, result)

    def _finish(self) -> None:
        self._end()
        self._settle()

    def _take(self, request: _Request, result: PutResult) -> None:
        self.stored_bytes += result.stored_bytes
        self.delivered += result.stored
        self._session.named |= result.names
        self._lost.requests = self._lost.stalls = 0
        self._most = min(self._limit, self._most * 2)
        if result.refused:
            self._session.take_refused(result.refused)
            self.redo |= request.leaves

    def _guarded(self, step: Step) -> bool:
        """Whether the step went through; a lost request costs its leaves and a pause."""
        try:
            step()
        except LinkRefused:
            raise
        except LinkError as error:
            self._lose(error)
            if self._lost.requests >= MAX_LOST:
                raise
            self._session.pause(self._lost.requests, asked_pause(error))
            return False
        return True

    def _lose(self, error: LinkError) -> None:
        self._lost.requests += 1
        self._drop()
        self._most = min(self._most, max(SMALL_PUT_BYTES, self._most // 4))
        self._lost.stalls += isinstance(error.__cause__, TimeoutError)

    @property
    def _patience(self) -> float:
        """Seconds; see `app.agent.daemon.link.link`."""
        return STALL_SECONDS * (PATIENCE if self._lost.stalls >= PATIENT_AFTER else 1)

    def _drop(self) -> None:
        """Give up what has no answer yet; its leaves are done again."""
        if self._filling is not None:
            self._give_up(self._filling)
        if self._closing is not None:
            self._give_up(self._closing[0])
        self._filling = self._closing = None

    def _give_up(self, request: _Request) -> None:
        request.put.close()
        self.redo |= request.leaves


def _result(put: PutStream) -> PutResult:
    put.write(b"".join(encode_end()))
    return put.result()


def _network(request: _Request, writing: float) -> float:
    """Seconds for which the network held up the frame that was written in `writing` seconds."""
    told = request.put.network_seconds()
    if told is None:
        return writing
    spent, request.network = told - request.network, told
    return spent
