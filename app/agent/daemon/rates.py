"""Rates over the last minutes, out of totals that only grow.

A ring of samples, one every SPACING seconds at most: 361 of them cover the longer window, some 50 KB.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from app.wire.heartbeat import Rates

SHORT_SECONDS: Final = 120.0
LONG_SECONDS: Final = 1800.0
SPACING_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """Totals at a moment: bytes written to the source, sent, read from its disks, and seconds in passes."""

    at: float
    written: int = 0
    sent: int = 0
    read: int = 0
    passing: float = 0.0


class RateRing:
    """The samples. Not shared between threads."""

    def __init__(self, first: Sample) -> None:
        self._samples: deque[Sample] = deque([first])

    def __len__(self) -> int:
        return len(self._samples)

    def take(self, now: Sample) -> None:
        """Keep a sample, unless the last one is younger than the spacing; forget what is too old."""
        if now.at - self._samples[-1].at >= SPACING_SECONDS:
            self._samples.append(now)
        while len(self._samples) > 2 and self._samples[1].at <= now.at - LONG_SECONDS:
            self._samples.popleft()

    def rates(self, now: Sample) -> Rates:
        """The rates up to `now`; over what there is, where that is shorter than the window."""
        short, long = self._before(now.at - SHORT_SECONDS), self._before(now.at - LONG_SECONDS)
        return Rates(
            dirty=_rate(now.written - short.written, now.at - short.at),
            dirty_long=_rate(now.written - long.written, now.at - long.at),
            wire=_rate(now.sent - short.sent, now.at - short.at),
            wire_long=_rate(now.sent - long.sent, now.at - long.at),
            read=_rate(now.read - short.read, now.passing - short.passing)
            or _rate(now.read - long.read, now.passing - long.passing),
        )

    def _before(self, moment: float) -> Sample:
        """The newest sample that is not younger than `moment`, else the oldest."""
        found = self._samples[0]
        for sample in self._samples:
            if sample.at > moment:
                break
            found = sample
        return found


def _rate(count: int, seconds: float) -> int:
    return max(0, round(count / seconds)) if seconds > 0 else 0
