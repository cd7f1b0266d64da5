"""Threads that are there before they are needed: nothing is made while something is frozen."""

import queue
import threading
from collections.abc import Callable, Sequence

Job = Callable[[], None]


class Crew:
    """Some threads, for jobs that wait in the kernel. For one caller at a time."""

    def __init__(self, size: int) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name="crew") for _ in range(size)]
        for thread in self._threads:
            thread.start()

    def carry_out(self, jobs: Sequence[Job]) -> None:
        """Do all jobs, as many at once as there are threads, and wait for the last."""
        for job in jobs:
            self._jobs.put(job)
        for _ in jobs:
            self._done.get()

    def dismiss(self) -> None:
        """End the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while job := self._jobs.get():
            try:
                job()
            finally:
                self._done.put(None)
