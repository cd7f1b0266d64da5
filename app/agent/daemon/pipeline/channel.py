"""Bounded hand-over between threads that one failure can stop as a whole."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from app.agent.daemon.stopping import Paused

T = TypeVar("T")


class Aborted(Exception):
    """Another thread failed, or the agent is stopping: this one gives up quietly."""


class Crew:
    """The threads of one pass: the first failure stops them all and is raised where they are awaited."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self.aborted = threading.Event()

    def start(self, name: str, work: Callable[[], None]) -> threading.Thread:
        """Run `work` in a thread of the crew."""
        thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def fail(self, failure: BaseException) -> None:
        """Stop all; the first failure is the one that counts."""
        with self._lock:
            self._failure = self._failure or failure
        self.aborted.set()

    @property
    def rests(self) -> bool:
        """Whether an order to pause stopped the crew: the link is good, and what is under way may end."""
        return isinstance(self._failure, Paused)

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self._failure is not None:
            raise self._failure

    def join(self, threads: list[threading.Thread]) -> None:
        """Wait for these threads, then raise the crew's failure, if there is one."""
        for thread in threads:
            thread.join()
        self.check()

    def join_all(self) -> None:
        """Wait for every thread of the crew, whatever its fate."""
        for thread in self._threads:
            thread.join()

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Aborted:
            return
        except BaseException as failure:  # noqa: BLE001 - raised again by check() in the awaiting thread
            self.fail(failure)


class Channel(Generic[T]):
    """A queue of at most `room` items whose waits end when the crew is aborted."""

    def __init__(self, crew: Crew, room: int) -> None:
        self._crew = crew
        self._room = room
        self._items: deque[T] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Append, waiting for room. Raises Aborted."""
        with self._changed:
            self._await(lambda: len(self._items) < self._room, None)
            self._items.append(item)
            self._changed.notify_all()

    def put_back(self, item: T) -> None:
        """Put an item that was taken where the next `get` finds it. Does not wait: its room is free.

        Of buffers the one used last is taken first: to use memory for the first time costs more than to read
        into it.
        """
        with self._changed:
            self._items.appendleft(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T | None:
        """The next item; None when the channel is closed and empty. Raises Aborted, or TimeoutError when
        nothing came within `timeout` seconds."""
        with self._changed:
            if not self._await(lambda: bool(self._items) or self._closed, timeout):
                raise TimeoutError
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    @property
    def rests(self) -> bool:
        """See `Crew.rests`."""
        return self._crew.rests

    def close(self) -> None:
        """Nothing more will be put."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _await(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `ready`; whether it came true in time. An abort is noticed within 0.1 s."""
        limit = None if timeout is None else time.monotonic() + timeout
        while not ready():
            if self._crew.aborted.is_set():
                raise Aborted
            if limit is not None and time.monotonic() >= limit:
                return False
            self._changed.wait(0.1)
        if self._crew.aborted.is_set():
            raise Aborted
        return True
