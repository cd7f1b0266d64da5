"""When the next pass is due: at the interval, or after a failure by back-off.

Disks that are read as a whole each time, because nothing tells what was written, are read for at most one
WHOLE_SHARE of the time. What a pass waits for the link does not count.

A fault of the link ends of itself, and is tried again soon; after others a pass, which reads whole disks, is
tried ever less.
"""

import time
from collections.abc import Callable
from typing import Final

FIRST_RETRY: Final = 2.0
LONGEST_LINK_RETRY: Final = 15.0
LONGEST_RETRY: Final = 600.0
WHOLE_SHARE: Final = 20.0
SHORTEST_INTERVAL: Final = 5
LONGEST_INTERVAL: Final = 7 * 86400
"""Seconds between two passes: what a service says beyond these is taken for the nearest of them."""


class Schedule:
    """The first pass is due at once, where there is an interval at all."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._began: float | None = None
        self._retry_at: float | None = None
        self._failures = 0
        self._least = 0.0
        self._rescan = self._rescanned = ""

    def due_in(self, interval_seconds: int) -> float | None:
        """Seconds until the next pass; None where only a command brings one, as with an interval of 0."""
        if self._retry_at is not None:
            return max(0.0, self._retry_at - self._monotonic())
        if not interval_seconds:
            return None
        if self._began is None:
            return 0.0
        interval = min(max(interval_seconds, SHORTEST_INTERVAL), LONGEST_INTERVAL)
        return max(0.0, self._began + max(interval, self._least) - self._monotonic())

    def is_due(self, interval_seconds: int) -> bool:
        """Whether a pass is due now."""
        return self.due_in(interval_seconds) == 0.0

    def is_new_rescan(self, order: str) -> bool:
        """Whether this ordered rescan must be begun now: not by itself while its failure is backed off."""
        return bool(order) and order != self._rescanned and self._retry_at is None

    def begin_now(self) -> None:
        """A pass is due at once, whatever the interval."""
        self._retry_at = self._monotonic()

    def link_is_back(self) -> None:
        """The service was away and answers again: what failed may be tried now."""
        if self._retry_at is not None:
            self.begin_now()

    def begins(self, rescan: str) -> None:
        """A pass begins, which carries out this ordered rescan, if any."""
        self._began = self._monotonic()
        self._rescan = rescan

    def succeeded(self, whole_seconds: float = 0.0) -> None:
        """It was committed; `whole_seconds` of it were reading that the next one must do again."""
        self._least = whole_seconds * WHOLE_SHARE
        self._retry_at, self._failures = None, 0
        self._rescanned = self._rescan

    def broke_off(self) -> None:
        """An order broke it off: it is due as soon as passes may run."""
        self._retry_at, self._failures = self._monotonic(), 0

    def failed(self, *, is_link: bool, at_least: float = 0.0) -> None:
        """It failed; `is_link`: for want of the service. It is not tried for `at_least` seconds."""
        self._failures += 1
        longest = LONGEST_LINK_RETRY if is_link else LONGEST_RETRY
        pause = max(at_least, min(longest, FIRST_RETRY * 2.0 ** min(self._failures, 10)))
        self._retry_at = self._monotonic() + pause
