"""Compressing with the effort of now, and the windows that the effort is chosen by.

A window begins with the first frame that was packed with the effort of now: what was under way before says
nothing about it. It ends after WINDOW_SECONDS and WINDOW_BYTES, or after LONG_SECONDS on a slow link.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.pipeline.effort import Controller, Effort, Window
from app.wire.buffers import Buffer
from app.wire.chunks import MIB
from app.wire.codec import Codec, encode

WINDOW_SECONDS: Final = 0.1
WINDOW_BYTES: Final = 32 * MIB
"""Two segments: the frames of one come in a burst."""
LONG_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Sent:
    """A frame that went out: its plain bytes, and for how many seconds the network alone held it up."""

    effort: Effort
    raw: int
    network: float


@dataclass
class _Sums:
    """What happened since the window began."""

    began: float
    raw: int = 0
    network: float = 0.0


class Packer:
    """Compresses chunks for several threads, and learns from how they and the sender get on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._controller = Controller()
        self._sums: _Sums | None = None
        self._plain = 0
        self._packed = 0

    @property
    def effort(self) -> Effort:
        """The effort of now."""
        return self._controller.effort

    def pack(self, data: Buffer) -> tuple[Codec, Buffer]:
        """Compress a chunk, or not; see `app.wire.codec.encode`."""
        effort = self._controller.effort
        if effort.level is None:
            return Codec.NONE, data
        codec, packed = encode(data, effort.level)
        with self._lock:
            if effort is self._controller.effort:
                self._plain += memoryview(data).nbytes
                self._packed += memoryview(packed).nbytes
        return codec, packed

    def sent(self, frame: Sent) -> None:
        """The sender wrote a frame; a window that is long enough ends here."""
        with self._lock:
            if frame.effort is not self._controller.effort:
                return
            if self._sums is None:
                self._sums = _Sums(self._clock())
                return
            self._sums.raw += frame.raw
            self._sums.network += frame.network
            seconds = self._clock() - self._sums.began
            if seconds >= (WINDOW_SECONDS if self._sums.raw >= WINDOW_BYTES else LONG_SECONDS):
                self._close_window(self._sums, seconds)

    def _close_window(self, sums: _Sums, seconds: float) -> None:
        before = self._controller.effort
        gain = self._plain / self._packed if self._packed else 1.0
        self._controller.learn(Window(seconds, sums.raw, sums.network, gain))
        is_same = self._controller.effort is before
        self._sums = _Sums(self._clock()) if is_same else None
        self._plain = self._packed = 0
