"""The agent is a guest: it reads less while its host is hard-pressed by others, and never more than allowed.

Each segment passes a gate before it is read; since all other work follows from reading, that slows down
hashing, compressing and sending as well. The gate holds three things:

- courtesy: the share of the time in which we read. It is halved at each sample in which the host is pressed
  (HIGH), and grows again, half as much at a time, after CALM samples in a row below LOW; in between it stays.
  FLOOR is never undercut and a rest is never longer than LONGEST_REST, so that a pass always goes on.
- a cap of the bytes read a second, and
- a cap of CPU time: what this process used, all of its threads, against the time that went by.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from app.agent.daemon.pace import NOTICE_SECONDS, IsOver, TokenBucket
from app.agent.daemon.pressure import Gauge, Pressure
from app.wire.chunks import MIB

HIGH: Final = 20.0
LOW: Final = 8.0
CALM: Final = 2
FLOOR: Final = 0.05
LONGEST_REST: Final = 3.0
SAMPLE_SECONDS: Final = 2.0
RARE_SAMPLE_SECONDS: Final = 8.0
"""Between samples where the host stays calm: listening costs reading some 2 % of the time then."""
LISTEN_SECONDS: Final = 0.1
DRAIN_SECONDS: Final = 5.0
_CPU_DEBT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Caps:
    """What the agent may use at most: CPU in percent of one core, reading in MiB a second; 0 for no cap."""

    cpu_percent: int = 0
    read_mib: int = 0


class Courtesy:
    """`share` is the part of the time, FLOOR to 1, in which the agent reads."""

    def __init__(self) -> None:
        self.share = 1.0
        self._calm = 0

    def learn(self, worst: float) -> float:
        """Take in how hard-pressed the host is, in percent; the share from now on."""
        if worst >= HIGH:
            self._calm = 0
            self.share = max(FLOOR, self.share / 2)
        elif worst >= LOW:
            self._calm = 0
        else:
            self._calm += 1
            if self._calm >= CALM:
                self.share = min(1.0, self.share * 1.5)
        return self.share

    @property
    def is_settled(self) -> bool:
        """Whether the host was calm for so long that it need not be looked at often."""
        return self.share == 1.0 and self._calm >= CALM

    def rest(self, worked: float) -> float:
        """Seconds to rest after `worked` seconds of reading."""
        return min(LONGEST_REST, worked * (1 / self.share - 1))


def _ignored(_text: str) -> None:
    """Where nobody is told."""


class Gate:
    """What the reading stage passes before each segment; shared by its threads.

    Without caps and gauge it stands open: for what must not wait, such as reading while the source is frozen.
    `note` is told once when the agent begins to hold itself back, and once when it no longer does.
    """

    def __init__(
        self, caps: Caps | None = None, gauge: Gauge | None = None, note: Callable[[str], None] = _ignored
    ) -> None:
        caps = caps or Caps()
        self._gauge = gauge
        self._note = note
        self._courtesy = Courtesy()
        self._bytes = TokenBucket(caps.read_mib * MIB or None)
        self._cpu = TokenBucket(caps.cpu_percent * 10 or None, _CPU_DEBT_SECONDS)  # in CPU milliseconds
        self._cpu_seen = time.process_time()
        self._changed = threading.Condition()
        self._mine = threading.local()
        self._reading = 0
        self._is_listening = False
        self._due = time.monotonic() + SAMPLE_SECONDS
        self._worked = 0.0
        self._read = 0

    @property
    def share(self) -> float:
        """The part of the time in which the agent reads at present."""
        return self._courtesy.share

    def wait(self, size: int, is_over: IsOver) -> bool:
        """Wait until `size` bytes may be read; False when it is over before."""
        if self._gauge is not None:
            self._sample_if_due(self._gauge, is_over)
        return (
            self._rest(is_over)
            and self._take_cpu(is_over)
            and self._bytes.take(size, is_over)
            and self._enter(is_over)
        )

    @contextmanager
    def reading(self, size: int, is_over: IsOver) -> Iterator[bool]:
        """Wait, then let the block read `size` bytes; False, and not to be read, when it is over before."""
        if not self.wait(size, is_over):
            yield False
            return
        began = time.monotonic()
        try:
            yield True
        finally:
            self._leave(size, time.monotonic() - began)

    def _enter(self, is_over: IsOver) -> bool:
        with self._changed:
            while self._is_listening:
                if is_over():
                    return False
                self._changed.wait(NOTICE_SECONDS)
            self._reading += 1
        return True

    def _leave(self, size: int, worked: float) -> None:
        with self._changed:
            self._reading -= 1
            self._read += size
            self._worked += worked
            self._changed.notify_all()
        self._mine.ready = time.monotonic() + self._courtesy.rest(worked)

    def _rest(self, is_over: IsOver) -> bool:
        """Each thread rests for itself, in proportion to what it read."""
        ready: float = getattr(self._mine, "ready", 0.0)
        while (left := ready - time.monotonic()) > 0 and not is_over():
            time.sleep(min(left, NOTICE_SECONDS))
        return not is_over()

    def _take_cpu(self, is_over: IsOver) -> bool:
        with self._changed:
            before, self._cpu_seen = self._cpu_seen, time.process_time()
            used = self._cpu_seen - before
        self._cpu.charge(used * 1000)
        return self._cpu.take(0, is_over)

    def _sample_if_due(self, gauge: Gauge, is_over: IsOver) -> None:
        """One thread looks at the host; the others go on, or wait while it listens."""
        with self._changed:
            if self._is_listening or time.monotonic() < self._due:
                return
            self._is_listening = True
        try:
            self._listen(gauge, is_over)
            pressure = self._measure(gauge)
        finally:
            with self._changed:
                self._is_listening = False
                self._changed.notify_all()
        self._follow(pressure)

    def _listen(self, gauge: Gauge, is_over: IsOver) -> None:
        """Hold all reading for a moment, so that what is heard is not ourselves."""
        if not gauge.needs_quiet:
            return
        with self._changed:
            drained = self._changed.wait_for(lambda: not self._reading or is_over(), DRAIN_SECONDS)
        if drained:
            gauge.quiet_begins()
            time.sleep(LISTEN_SECONDS)
            gauge.quiet_ends()

    def _measure(self, gauge: Gauge) -> Pressure:
        with self._changed:
            worked, read, self._worked, self._read = self._worked, self._read, 0.0, 0
        return gauge.sample(time.process_time(), worked * MIB / read if read else 0.0)

    def _follow(self, pressure: Pressure) -> None:
        before, now = self._courtesy.share, self._courtesy.learn(pressure.worst)
        every = RARE_SAMPLE_SECONDS if self._courtesy.is_settled else SAMPLE_SECONDS
        self._due = time.monotonic() + every
        if before == 1.0 and now < 1.0:
            self._note(f"the host is hard-pressed ({pressure}): the agent holds itself back")
        elif before < 1.0 and now == 1.0:
            self._note("the host has recovered: the agent works as before")
