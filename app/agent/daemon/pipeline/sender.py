"""The sending stage: one thread puts frames into requests and learns what became of them.

A request is closed after `put_bytes`, or when nothing came for a while, so that little is ever
unacknowledged; after a loss requests are smaller, until they get through again. What a lost request or a
refusal concerned is not kept: its leaves are done again, and the service's `have` then says what is left to
send.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Final

from app.agent.daemon.errors import LinkError, LinkRefused
from app.agent.daemon.link.link import PATIENCE, STALL_SECONDS
from app.agent.daemon.pipeline.channel import Channel
from app.agent.daemon.pipeline.leaves import LeafKey
from app.agent.daemon.pipeline.outgoing import Outgoing
from app.agent.daemon.service import PutStream, Session
from app.wire.chunks import MIB
from app.wire.frames import encode_end
from app.wire.messages import Counters, PutResult

PUT_BYTES: Final = 128 * MIB
Step = Callable[[], None]
IDLE_SECONDS: Final = 3.0
SMALL_PUT_BYTES: Final = 8 * MIB
MAX_LOST: Final = 16
"""Requests lost one after the other before the pass is given up."""


class Sender:
    """`redo` holds the leaves to be done again, `delivered` counts chunks that the service lacked and has
    now, and `stored_bytes` is what the store grew by."""

    def __init__(
        self, session: Session, frames: Channel[Outgoing], told: Callable[[int, float], None], lost: int = 0
    ) -> None:
        """`told` learns of each frame's bytes and the seconds that they took to go out; `lost` requests in a
        row went wrong before."""
        self._session = session
        self._frames = frames
        self._told = told
        self._limit = max(MIB, min(PUT_BYTES, session.limits.put_bytes // 2))
        self._most = self._limit
        self._patience = STALL_SECONDS
        self._put: PutStream | None = None
        self._leaves: set[LeafKey] = set()
        self.lost = lost
        self.redo: set[LeafKey] = set()
        self.stored_bytes = 0
        self.delivered = 0

    def run(self) -> None:
        """Send until the channel is closed. Raises AgentError, Aborted."""
        try:
            while True:
                try:
                    frame = self._frames.get(IDLE_SECONDS if self._put else None)
                except TimeoutError:
                    self._guarded(self._finish)
                    continue
                if frame is None:
                    break
                self._send(frame)
            self._guarded(self._finish)
        finally:
            self._drop()

    def _send(self, outgoing: Outgoing) -> None:
        self._leaves |= outgoing.leaves
        began = time.monotonic()
        if self._guarded(lambda: self._write(outgoing.frame)):
            self._told(len(outgoing.frame), time.monotonic() - began)
            outgoing.tally.add(Counters(wire=len(outgoing.frame)))

    def _write(self, frame: bytes) -> None:
        if self._put is None:
            self._put = self._session.begin_put(self._patience)
        self._put.write(frame)
        if self._put.sent >= self._most:
            self._finish()

    def _finish(self) -> None:
        if self._put is None:
            return
        put, self._put = self._put, None
        with contextlib.closing(put):
            put.write(b"".join(encode_end()))
            self._take(put.result())

    def _take(self, result: PutResult) -> None:
        self.stored_bytes += result.stored_bytes
        self.delivered += result.stored
        self.lost = 0
        self._patience = STALL_SECONDS
        self._most = min(self._limit, self._most * 2)
        if result.refused:
            self._session.take_refused(result.refused)
            self.redo |= self._leaves
        self._leaves = set()

    def _guarded(self, step: Step) -> bool:
        """Whether the step went through; a lost request costs its leaves and a pause."""
        try:
            step()
        except LinkRefused:
            raise
        except LinkError as error:
            self._lose(error)
            if self.lost >= MAX_LOST:
                raise
            self._session.pause(self.lost)
            return False
        return True

    def _lose(self, error: LinkError) -> None:
        self.lost += 1
        self._drop()
        self.redo |= self._leaves
        self._leaves = set()
        self._most = min(self._most, max(SMALL_PUT_BYTES, self._most // 4))
        if isinstance(error.__cause__, TimeoutError):
            self._patience = STALL_SECONDS * PATIENCE

    def _drop(self) -> None:
        if self._put is not None:
            self._put.close()
            self._put = None
