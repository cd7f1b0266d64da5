"""What holds a verification back: the end of the agent, its withdrawal, a pause, and its pace.

All that a verification does happens in steps of a few milliseconds of reading. Between two steps it can be
paused: while the source is frozen it does nothing at all. Its pace counts over all of it, so that what a step
read too fast is waited for before the next one.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Final

from app.agent.daemon.stopping import Stop, Stopped

PAUSE_SECONDS: Final = 1.0
_CREDIT_SECONDS: Final = 0.1
"""How much of an idle time may be made up for: a verification that was paused does not hurry afterwards."""


class Guard:
    """One verification's brake. `pause` and `resume` may be called from any thread, and nest."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._pauses = 0
        self._is_inside = False
        self._due = time.monotonic()
        self.bytes_per_second: int | None = None
        stop.listen(self.withdraw)

    def close(self) -> None:
        """The verification is over."""
        self._stop.unlisten(self.withdraw)

    def withdraw(self) -> None:
        """End the verification between two steps. Does not block."""
        self._ended.set()

    def pause(self, seconds: float = PAUSE_SECONDS) -> bool:
        """Let no step begin, and wait up to `seconds` for the one that runs; whether none runs any more."""
        with self._changed:
            self._pauses += 1
            return self._changed.wait_for(lambda: not self._is_inside, seconds)

    def resume(self) -> None:
        """Take one `pause` back."""
        with self._changed:
            self._pauses -= 1
            self._changed.notify_all()

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """A piece of work that no pause interrupts; waits out a pause first. Raises Stopped."""
        with self._changed:
            while self._pauses and not self._ended.is_set():
                self._changed.wait(0.1)
            self.check()
            self._is_inside = True
        try:
            yield
        finally:
            with self._changed:
                self._is_inside = False
                self._changed.notify_all()

    def check(self) -> None:
        """Raise Stopped when the agent ends or the verification was withdrawn."""
        if self._ended.is_set():
            raise Stopped("the verification was told to stop")

    def wait(self, seconds: float) -> None:
        """Sleep. Raises Stopped as soon as the verification has to end."""
        self._ended.wait(max(0.0, seconds))
        self.check()

    def spend(self, count: int) -> None:
        """Wait until `count` more bytes fit the pace. Raises Stopped."""
        rate = self.bytes_per_second
        if not rate:
            self.check()
            return
        now = time.monotonic()
        self._due = max(self._due, now - _CREDIT_SECONDS) + count / rate
        self.wait(self._due - now)
