"""The thread that takes events in: often under load, seldom at rest, and early when a buffer fills."""

import os
import select
import threading
from collections.abc import Callable
from typing import Final

_BUSY: Final = 0.05
_REST: Final = 1.0
"""Seconds between two looks, under load and at rest."""


class Watch:
    """Calls `tick` until `stop`; it says how many events there were and raises nothing.

    `descriptors` are readable when a buffer is a quarter full.
    """

    def __init__(self, tick: Callable[[], int], descriptors: Callable[[], list[int]]) -> None:
        self._tick = tick
        self._descriptors = descriptors
        self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = _BUSY
        while True:
            pause = _BUSY if self._tick() else min(2 * pause, _REST)
            if self._waited([], _BUSY) or self._waited(self._descriptors(), pause - _BUSY):
                return

    def _waited(self, descriptors: list[int], seconds: float) -> bool:
        """Sleep until a buffer fills or the time is over; True at once when told to stop."""
        poll = select.poll()
        for descriptor in (self._stop, *descriptors):
            poll.register(descriptor, select.POLLIN)
        return any(ready == self._stop for ready, _ in poll.poll(seconds * 1000))

    def stop(self) -> None:
        """End the thread and wait for it."""
        os.eventfd_write(self._stop, 1)
        self._thread.join()
        os.close(self._stop)
