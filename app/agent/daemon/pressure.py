"""How hard-pressed the host is, leaving out what this agent does to it itself.

The kernel's pressure stall information (/proc/pressure, Linux 4.20) says how long some task waited for a CPU,
for I/O or for memory, this agent's tasks among them. So

- of the waiting for a CPU, what our own threads waited is taken off: of the time that all tasks waited where
  the kernel adds it up (/proc/schedstat), else of the time in which some task waited, which leaves what is
  surely others';
- waiting for I/O is measured while we read nothing, in a pause that the reading stage makes for it;
- waiting for memory counts as it is, since what we hold of it is bounded.

Where the kernel does not tell, load average and the speed of our own reads stand in.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

PROC: Final = Path("/proc")
_LONGEST_PERIOD: Final = 20.0
"""Seconds; what a total grew by over a longer time says little of now, and the kernel's avg10 is taken."""


@dataclass(frozen=True)
class Pressure:
    """Percent of the time in which others waited, 0 to 100 each."""

    cpu: float = 0.0
    io: float = 0.0
    memory: float = 0.0

    @property
    def worst(self) -> float:
        """The greatest of them; that of the CPU counts by half, since low priority gives way by itself."""
        return max(self.cpu / 2, self.io, self.memory)

    def __str__(self) -> str:
        """For people."""
        return f"CPU {self.cpu:.0f} %, I/O {self.io:.0f} %, memory {self.memory:.0f} %"


class Gauge(Protocol):
    """Measures between two calls. Not shared between threads."""

    needs_quiet: bool
    """Whether I/O is measured while the agent reads nothing, from `quiet_begins` to `quiet_ends`."""

    def quiet_begins(self) -> None:
        """The agent reads nothing from now on."""

    def quiet_ends(self) -> None:
        """The agent is about to read again."""

    def sample(self, own_cpu: float, seconds_a_mib: float) -> Pressure:
        """The pressure since the sample before. `own_cpu` is CPU seconds of this process since its start,
        `seconds_a_mib` what its reads took of late, 0 where nothing was read."""


@dataclass(frozen=True)
class _Stall:
    """A line `some` of a pressure file: percent over 10 seconds, and microseconds since boot."""

    average: float
    total: int


def choose_gauge(proc: Path = PROC) -> Gauge:
    """Pressure stall information where the kernel has it."""
    try:
        return StallGauge(proc)
    except (OSError, ValueError):
        return LoadGauge(proc)


class StallGauge:
    """By /proc/pressure. Raises OSError or ValueError where there is none."""

    needs_quiet = True

    def __init__(self, proc: Path = PROC) -> None:
        self._proc = proc
        self._at = time.monotonic()
        self._cpu, self._memory = self._stall("cpu"), self._stall("memory")
        self._waited, self._all_waited = self._own_waiting(), self._all_waiting()
        self._quiet: tuple[float, int] | None = None
        self._io = 0.0
        self._stall("io")

    def quiet_begins(self) -> None:
        """Begin to measure how long others wait for I/O."""
        self._quiet = (time.monotonic(), self._stall("io").total)

    def quiet_ends(self) -> None:
        """End measuring it."""
        if self._quiet is not None:
            (began, before), self._quiet = self._quiet, None
            self._io = _percent(self._stall("io").total - before, time.monotonic() - began)

    def sample(self, own_cpu: float, seconds_a_mib: float) -> Pressure:  # noqa: ARG002  (of another gauge)
        """See `Gauge`."""
        seconds = time.monotonic() - self._at
        self._at += seconds
        cpu, memory = self._stall("cpu"), self._stall("memory")
        found = Pressure(
            cpu=self._of_others(_grown(self._cpu, cpu, seconds), seconds),
            io=self._io,
            memory=_grown(self._memory, memory, seconds),
        )
        self._cpu, self._memory, self._io = cpu, memory, 0.0
        return found

    def _of_others(self, some: float, seconds: float) -> float:
        """Percent of the time in which others waited for a CPU, where `some` task did for so many percent."""
        before, self._waited = self._waited, self._own_waiting()
        all_before, self._all_waited = self._all_waited, self._all_waiting()
        own = sum(waited - before.get(thread, 0) for thread, waited in self._waited.items())
        if self._all_waited is None or all_before is None:
            return max(0.0, some - own / 1e7 / seconds)
        return min(some, max(0, self._all_waited - all_before - own) / 1e7 / seconds)

    def _all_waiting(self) -> int | None:
        """Nanoseconds that all tasks waited for a CPU; None where the kernel does not add them up.

        Field 8 of each CPU's line: Documentation/scheduler/sched-stats.rst of Linux.
        """
        try:
            lines = (self._proc / "schedstat").read_text(encoding="ascii").splitlines()
            return sum(int(line.split()[8]) for line in lines if line.startswith("cpu"))
        except (OSError, IndexError):
            return None

    def _stall(self, name: str) -> _Stall:
        line = (self._proc / "pressure" / name).read_text(encoding="ascii").split("\n", 1)[0]
        fields = dict(word.split("=", 1) for word in line.split()[1:])
        try:
            return _Stall(float(fields["avg10"]), int(fields["total"]))
        except KeyError as error:
            raise ValueError(f"{self._proc / 'pressure' / name} has another form: {line!r}") from error

    def _own_waiting(self) -> dict[str, int]:
        """Nanoseconds that each of our threads waited for a CPU."""
        found = {}
        for thread in (self._proc / "self" / "task").iterdir():
            try:
                text = (thread / "schedstat").read_text(encoding="ascii")
            except OSError:
                continue  # it ended meanwhile
            found[thread.name] = int(text.split()[1])
        return found


def _percent(microseconds: float, seconds: float) -> float:
    return min(100.0, microseconds / 10_000 / seconds) if seconds > 0 else 0.0


def _grown(before: _Stall, now: _Stall, seconds: float) -> float:
    return now.average if seconds > _LONGEST_PERIOD else _percent(now.total - before.total, seconds)


class LoadGauge:
    """By load average, less what this agent adds to it, and by reads that take longer than they might."""

    needs_quiet = False

    def __init__(self, proc: Path = PROC, cores: int | None = None) -> None:
        self._proc = proc
        self._cores = cores or os.cpu_count() or 1
        self._at = time.monotonic()
        self._own = time.process_time()
        self._best = 0.0

    def quiet_begins(self) -> None:
        """Nothing is measured then."""

    def quiet_ends(self) -> None:
        """Nothing was measured."""

    def sample(self, own_cpu: float, seconds_a_mib: float) -> Pressure:
        """Each task beyond the cores counts 100 %; reads that take three times the best count 50 %."""
        seconds = max(time.monotonic() - self._at, 1e-9)
        self._at += seconds
        own, self._own = (own_cpu - self._own) / seconds, own_cpu
        load = float((self._proc / "loadavg").read_text(encoding="ascii").split()[0])
        return Pressure(cpu=_bounded((load - own - self._cores) * 100), io=self._slowness(seconds_a_mib))

    def _slowness(self, seconds_a_mib: float) -> float:
        if seconds_a_mib <= 0:
            return 0.0
        self._best = min(self._best or seconds_a_mib, seconds_a_mib)
        return _bounded((seconds_a_mib / self._best - 1) * 25)


def _bounded(percent: float) -> float:
    return min(100.0, max(0.0, percent))
