"""The filesystems in the freezer's hand, and the rules of holding them.

Innermost first: a filesystem on a loop device writes to the filesystem of its file while it freezes. Those
of one depth are frozen at once: each freeze waits for the kernel some 50 ms, mostly idle, and four of them
take 0.2 s one by one, 0.06 s together. Thawed in reverse, because thawing writes as well. All or nothing:
once thawing began, by whatever thread and for whatever reason, a freeze that is still under way is undone
by the thread that made it, as soon as the kernel lets it go.

Two locks. `_deciding` is held for moments and settles who thaws a filesystem that was just frozen.
`_sweeping` is held while all are thawed, so that the second to ask waits for the first. No system call
is made under `_deciding`.
"""

import errno
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Final

from app.agent.daemon.freezer import kernel
from app.agent.daemon.freezer.crew import Crew
from app.agent.daemon.freezer.protocol import Answer, Fate, Kind, Reason

_NO_FREEZING: Final = (errno.EOPNOTSUPP, errno.ENOTTY)


class Held:
    """An open filesystem and what became of it."""

    def __init__(self, fd: int, number: str, depth: int) -> None:
        self.fd = fd
        self.number = number
        self.depth = depth
        self.fate = Fate.UNTOUCHED
        self.error = 0


class Holder:
    """Freezes and thaws. `freeze` is for one thread; `thaw` may come from another meanwhile."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._held: list[Held] = []
        self._deciding = threading.Lock()
        self._sweeping = threading.Lock()
        self._reason = Reason.NONE
        self._began = 0.0
        self._ended = 0.0

    @property
    def numbers(self) -> list[str]:
        """major:minor of all, in the order of freezing."""
        return [held.number for held in self._held]

    def add(self, fd: int, number: str, depth: int) -> None:
        """Take a filesystem in hand, the innermost first; the descriptor is the holder's from now on."""
        self._held.append(Held(fd, number, depth))

    def forget(self) -> None:
        """Let go of all; they must be thawed."""
        for held in self._held:
            os.close(held.fd)
        self._held = []

    def sync(self) -> None:
        """Write back all caches before the clock starts. What fails here fails again in the freeze."""
        self._crew.carry_out([partial(_sync, held) for held in self._held])

    def freeze(self) -> None:
        """Freeze all, or none."""
        self._began = time.monotonic()
        for _, level in groupby(self._held, key=lambda held: held.depth):
            together = list(level)
            self._crew.carry_out([partial(self._freeze, held) for held in together])
            if any(held.fate is Fate.REFUSED for held in together):
                self.thaw(Reason.REFUSED)
        self._ended = time.monotonic()
        if self._reason is not Reason.NONE:
            self.thaw(self._reason)

    def _freeze(self, held: Held) -> None:
        if self._reason is not Reason.NONE:
            return
        error = kernel.freeze(held.fd)
        if error in _NO_FREEZING:
            error = kernel.sync(held.fd)
            held.fate, held.error = (Fate.REFUSED if error else Fate.SYNCED), error
        elif error:
            held.fate, held.error = Fate.REFUSED, error
        elif not self._keep(held):
            _thaw(held)
            held.fate = Fate.LATE if held.fate is Fate.THAWED else held.fate

    def _keep(self, held: Held) -> bool:
        """Leave a frozen filesystem to `thaw`, unless that has begun already."""
        with self._deciding:
            if self._reason is Reason.NONE:
                held.fate = Fate.FROZEN
                return True
        return False

    def thaw(self, reason: Reason) -> None:
        """Thaw what is frozen, in reverse, and freeze nothing more; the first reason counts."""
        with self._deciding:
            if self._reason is Reason.NONE:
                self._reason = reason
        with self._sweeping:
            for held in reversed(self._held):
                if held.fate is Fate.FROZEN:
                    _thaw(held)
                    self._ended = time.monotonic()

    @property
    def has_stuck(self) -> bool:
        """Whether one did not thaw."""
        return any(held.fate is Fate.STUCK for held in self._held)

    @property
    def is_holding(self) -> bool:
        """Whether anything is frozen."""
        return any(held.fate is Fate.FROZEN for held in self._held)

    def start_over(self) -> None:
        """Be ready for the next freeze of the same filesystems."""
        self._reason = Reason.NONE
        self._began = self._ended = 0.0
        for held in self._held:
            held.fate, held.error = Fate.UNTOUCHED, 0

    def answers(self) -> Iterator[Answer]:
        """What became of each, and the end."""
        for index, held in enumerate(self._held):
            yield Answer(Kind.FATE, held.fate, index, held.error)
        yield Answer(Kind.DONE, self._reason, began=self._began, took=self._ended - self._began)


def _sync(held: Held) -> None:
    kernel.sync(held.fd)


def _thaw(held: Held) -> None:
    held.error = kernel.thaw(held.fd)
    if held.error == 0:
        held.fate = Fate.THAWED
    else:
        held.fate = Fate.STRANGER if held.error == errno.EINVAL else Fate.STUCK
