"""How fast bytes may leave: a token bucket whose rate the service sets with each heartbeat.

The bucket fills with `rate` tokens a second and holds BURST_SECONDS of them, so that over any time T no more
than rate · (T + BURST_SECONDS) go out. What must not wait (heartbeats, commits) is charged behindhand.

A large frame goes out in pieces of at most a burst: a slow link then carries a little several times a second,
and neither the service nor a proxy takes it for dead. With rate 0 nothing new begins; a frame and a request
that are under way are ended at the rate of before, so that what was sent counts.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

from app.agent.daemon.stopping import Stopped
from app.wire.buffers import Buffer
from app.wire.chunks import MIB

BURST_SECONDS: Final = 0.25
DEBT_SECONDS: Final = 10.0
"""What was charged holds others up for no longer: heartbeats alone could be more than a very low rate."""
NOTICE_SECONDS: Final = 0.1
"""Within which a waiter notices that the pass is over."""
MOST_PIECE: Final = MIB

IsOver = Callable[[], bool]
"""Asked by a waiter: whether there is nothing more to wait for."""


class Tokens:
    """The arithmetic of a bucket; times are seconds of any clock that does not go back.

    `rate` is tokens a second, above zero; None is no limit. `level` below zero is debt.
    """

    def __init__(self, rate: float | None, now: float, debt_seconds: float = DEBT_SECONDS) -> None:
        self.rate = rate
        self.level = 0.0
        self._now = now
        self._debt_seconds = debt_seconds

    @property
    def capacity(self) -> float:
        """What the bucket holds; at least one token."""
        return max(1.0, (self.rate or 0.0) * BURST_SECONDS)

    def set_rate(self, rate: float | None, now: float) -> None:
        """Fill at another rate from `now` on. What is owed is paid at the new rate."""
        self._fill(now)
        self.level = 0.0 if self.rate is None else self.level
        self.rate = rate
        self.level = min(self.level, self.capacity)

    def seconds_until(self, amount: float, now: float) -> float:
        """How long until `amount` may be taken: it is there, or the bucket is full; 0 for now."""
        self._fill(now)
        if self.rate is None:
            return 0.0
        return max(0.0, (min(amount, self.capacity) - self.level) / self.rate)

    def take(self, amount: float) -> None:
        """Take, after `seconds_until` was 0. More than there is becomes debt."""
        if self.rate is not None:
            self.level -= amount

    def charge(self, amount: float, now: float) -> None:
        """Take what did not wait."""
        self._fill(now)
        if self.rate is not None:
            self.level = max(self.level - amount, min(self.level, -self.rate * self._debt_seconds))

    def _fill(self, now: float) -> None:
        if self.rate is not None:
            self.level = min(self.capacity, self.level + (now - self._now) * self.rate)
        self._now = now


class TokenBucket:
    """A bucket that threads wait at. Begins without a limit."""

    def __init__(
        self,
        rate: float | None = None,
        debt_seconds: float = DEBT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._tokens = Tokens(rate, clock(), debt_seconds)
        self._rate = rate

    @property
    def rate(self) -> float | None:
        """Tokens a second; None for no limit, 0 for nothing."""
        return self._rate

    @property
    def is_shut(self) -> bool:
        """Whether nothing new may begin."""
        return self._rate == 0

    def set_rate(self, rate: float | None) -> None:
        """Another rate from now on, for those that wait as well."""
        with self._changed:
            self._rate = None if rate is None else max(0, rate)
            if self._rate != 0:
                self._tokens.set_rate(self._rate, self._clock())
            self._changed.notify_all()

    def take(self, amount: float, is_over: IsOver, *, is_under_way: bool = False) -> bool:
        """Wait for `amount` tokens and take them; False when it is over before.

        What `is_under_way` does not stop at rate 0, but goes on at the rate before it.
        """
        with self._changed:
            while not is_over():
                left = self._seconds_until(amount, is_under_way)
                if left <= 0:
                    self._tokens.take(amount)
                    return True
                self._changed.wait(min(left, NOTICE_SECONDS))
        return False

    def _seconds_until(self, amount: float, is_under_way: bool) -> float:
        if self.is_shut and not is_under_way:
            return NOTICE_SECONDS
        return self._tokens.seconds_until(amount, self._clock())

    def charge(self, amount: float) -> None:
        """Take without waiting: others wait the longer."""
        with self._changed:
            self._tokens.charge(amount, self._clock())

    def pieces(self, data: Buffer, is_over: IsOver) -> Iterator[memoryview]:
        """The bytes of a request under way, each piece when it may go out. Raises Stopped when it is over."""
        view = memoryview(data).cast("B")
        while len(view):
            piece = view[: self._piece()]
            if not self.take(len(piece), is_over, is_under_way=True):
                raise stopped()
            yield piece
            view = view[len(piece) :]

    def _piece(self) -> int:
        limited = self._tokens.rate is not None
        return int(min(self._tokens.capacity, MOST_PIECE)) if limited else MOST_PIECE


def stopped() -> Stopped:
    """Waiting for the pace has ended because the pass has."""
    return Stopped("the pass ended while it waited for its pace")
