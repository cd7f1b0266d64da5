"""How hard to compress: the level that brings the most bytes of the disk over in the present circumstances.

Each effort has a price (CPU seconds a GiB) and a gain (plain by packed bytes), known beforehand for usual
disks and corrected by what this disk and this host show. With effort e the pass can go as fast as the
slowest of
    link     what the other side takes in, times the gain of e
    CPU      the cores that the pass may have, by the price of everything else and that of e
and the best effort is the one with the greatest minimum. A slow link or store makes for hard compression, a
busy host or a fast link for a light one or none, and bytes that do not compress for none.
"""

from dataclasses import dataclass
from typing import Final

GIB: Final = 1 << 30


@dataclass(frozen=True)
class Effort:
    """A zstd level, None for no compression, with its usual price and gain (measured on system disks)."""

    level: int | None
    price: float
    gain: float


NONE: Final = Effort(None, 0.0, 1.0)
LIGHT: Final = Effort(-5, 0.96, 1.81)
FULL: Final = Effort(1, 1.37, 2.14)
EFFORTS: Final = (NONE, LIGHT, FULL)

_WEIGHT: Final = 0.5
"""Of a new measurement against all those before it."""
_BETTER: Final = 1.1
"""How much faster another effort must promise to be."""
_BUSY: Final = 0.9
"""Share of the time that a sender is at work who has always something to send: CPU is not what is short."""


@dataclass(frozen=True)
class Window:
    """What a pass did within a short time; bytes and seconds, CPU seconds of this process.

    `packed_raw` and `packed` are plain and packed bytes of what was compressed, with `effort`, in
    `packing_cpu`; `other_cpu` is the rest of the process. `raw` is all that was handed to the sender and
    `wire` what it sent in `sending` seconds. `idle` are core seconds that nobody used.
    """

    seconds: float
    raw: int
    wire: int
    sending: float
    other_cpu: float
    idle: float
    effort: Effort
    packed_raw: int
    packed: int
    packing_cpu: float


class Controller:
    """Holds the effort of now; `learn` from one window after the other. Begins with FULL."""

    def __init__(self) -> None:
        self.effort = FULL
        self._slowness: float | None = None
        self._softness: float | None = None
        self._link: float | None = None
        self._other: float | None = None
        self._cores: float | None = None

    def learn(self, window: Window) -> None:
        """Take a window in and choose the effort for the next one."""
        self._measure_packing(window)
        if not window.raw or window.sending <= 0 or window.seconds <= 0:
            return
        self._link = _mixed(self._link, window.wire / window.sending)
        self._other = _mixed(self._other, window.other_cpu / window.raw)
        self._measure_cores(window)
        best = max(EFFORTS, key=self.speed)
        if self.speed(best) > self.speed(self.effort) * _BETTER:
            self.effort = best

    def speed(self, effort: Effort) -> float:
        """Bytes of the disk a second that this effort promises; only after a first full window."""
        assert self._link is not None
        assert self._other is not None
        assert self._cores is not None
        price = effort.price / GIB * (1.0 if self._slowness is None else self._slowness)
        gain = 1 + (effort.gain - 1) * (1.0 if self._softness is None else self._softness)
        by_cpu = self._cores / max(self._other + price, 1e-12)
        return min(self._link * gain, by_cpu)

    def _measure_cores(self, window: Window) -> None:
        """What the pass used and nobody wanted. While it waits for the link it could have had more."""
        found = (window.other_cpu + window.packing_cpu + window.idle) / window.seconds
        if self._cores is not None and window.sending > window.seconds * _BUSY:
            self._cores = max(self._cores, found)
        else:
            self._cores = _mixed(self._cores, found)

    def _measure_packing(self, window: Window) -> None:
        """How this host's price and this disk's gain relate to the usual ones."""
        if not window.packed_raw or not window.effort.price:
            return
        price = window.packing_cpu / window.packed_raw * GIB
        gain = window.packed_raw / max(window.packed, 1)
        self._slowness = _mixed(self._slowness, price / window.effort.price)
        self._softness = _mixed(self._softness, max(0.0, (gain - 1) / (window.effort.gain - 1)))


def _mixed(before: float | None, now: float) -> float:
    return now if before is None else before + (now - before) * _WEIGHT
