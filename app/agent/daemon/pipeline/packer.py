"""Compressing with the effort of now, and the measurements that the effort is chosen by.

Where nothing is compressed one chunk in sixteen still is, so that a change of circumstances shows.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.pipeline.effort import LIGHT, NONE, Controller, Effort, Window
from app.wire.buffers import Buffer
from app.wire.codec import Codec, encode

WINDOW_SECONDS: Final = 0.25
_PROBE: Final = 16
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STAT: Final = Path("/proc/stat")


@dataclass
class _Sums:
    """What happened since the window began."""

    began: float
    cpu: float
    idle: float
    raw: int = 0
    wire: int = 0
    sending: float = 0.0
    packed_raw: int = 0
    packed: int = 0
    packing_cpu: float = 0.0


def idle_seconds() -> float:
    """Core seconds that this host was idle since it started; 0 where the kernel does not tell."""
    try:
        fields = _STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    except OSError:
        return 0.0
    return (int(fields[4]) + int(fields[5])) / _TICKS


class Packer:
    """Compresses chunks for several threads, and learns from how they and the sender get on."""

    def __init__(self, idle: Callable[[], float] = idle_seconds) -> None:
        self._idle = idle
        self._lock = threading.Lock()
        self._controller = Controller()
        self._unpacked = 0
        self._sums = self._fresh()

    @property
    def effort(self) -> Effort:
        """The effort of now."""
        return self._controller.effort

    def pack(self, data: Buffer) -> tuple[Codec, Buffer]:
        """Compress a chunk, or not; see `app.wire.codec.encode`."""
        effort = self._effort_of_next()
        length = memoryview(data).nbytes
        if effort.level is None:
            self._note(length)
            return Codec.NONE, data
        began = time.thread_time()
        codec, packed = encode(data, effort.level)
        spent = time.thread_time() - began
        self._note(length, effort, memoryview(packed).nbytes, spent)
        return codec, packed

    def sent(self, wire: int, seconds: float) -> None:
        """The sender wrote `wire` bytes in this time; a window that is long enough ends here."""
        with self._lock:
            self._sums.wire += wire
            self._sums.sending += seconds
            if time.monotonic() - self._sums.began >= WINDOW_SECONDS:
                self._close_window()

    def _effort_of_next(self) -> Effort:
        with self._lock:
            if self._controller.effort is not NONE:
                return self._controller.effort
            self._unpacked += 1
            return NONE if self._unpacked % _PROBE else LIGHT

    def _note(self, raw: int, effort: Effort = NONE, packed: int = 0, spent: float = 0.0) -> None:
        with self._lock:
            self._sums.raw += raw
            if self._is_present(effort):
                self._sums.packed_raw += raw
                self._sums.packed += packed
                self._sums.packing_cpu += spent

    def _is_present(self, effort: Effort) -> bool:
        """Whether this effort is what the window is measured with; not for what began before a change."""
        return effort.level is not None and effort is self._measured_with

    @property
    def _measured_with(self) -> Effort:
        return LIGHT if self._controller.effort is NONE else self._controller.effort

    def _close_window(self) -> None:
        sums, self._sums = self._sums, self._fresh()
        self._controller.learn(
            Window(
                seconds=self._sums.began - sums.began,
                raw=sums.raw,
                wire=sums.wire,
                sending=sums.sending,
                other_cpu=max(0.0, self._sums.cpu - sums.cpu - sums.packing_cpu),
                idle=max(0.0, self._sums.idle - sums.idle),
                effort=self._measured_with,
                packed_raw=sums.packed_raw,
                packed=sums.packed,
                packing_cpu=sums.packing_cpu,
            )
        )

    def _fresh(self) -> _Sums:
        return _Sums(time.monotonic(), time.process_time(), self._idle())
