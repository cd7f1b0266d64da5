"""From the CPUs' buffers into the dirty sets, event by event, with the books kept by `ledger`.

Not for several threads at once.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.eventformat import PageFormat
from app.agent.daemon.tracking.instance import CpuBuffer, Instance
from app.agent.daemon.tracking.ledger import MAX_CPUS, Ledger
from app.agent.daemon.tracking.ringbuffer import Page, parse_page
from app.agent.daemon.tracking.writes import SECTOR, Write, WriteDecoder

Sieve = Callable[[Write], bool]
"""For tests: an event for which it says False is dropped without a trace."""

_ONLINE: Final = Path("/sys/devices/system/cpu/online")
_PAGES_AT_ONCE: Final = 256
"""Pages of one CPU before the next one's turn: 18,000 events, about 50 ms."""
_PATIENCE: Final = 5.0
"""Seconds for events that the kernel counted and did not hand out yet: they are being written."""


@dataclass(frozen=True)
class Route:
    """Where writes to bytes [offset, offset + size) of a whole disk are marked."""

    offset: int
    size: int
    dirty: DirtyMap


class Intake:
    """Reads the buffers of one instance. `routes` are by the kernel's device number."""

    def __init__(self, instance: Instance, ledger: Ledger, sieve: Sieve | None = None) -> None:
        self._instance = instance
        self._ledger = ledger
        self._form: PageFormat = instance.page_format()
        self._decoder = WriteDecoder(instance.formats())
        self._sieve = sieve
        self._routes: dict[int, list[Route]] = {}
        self._buffers: dict[int, CpuBuffer] = {}
        self._online = ""
        self.taken = 0
        """Events applied so far."""
        self.missed = False
        """A page said that events before it were lost."""

    def route(self, routes: Mapping[int, list[Route]]) -> None:
        """Mark by these routes from now on."""
        self._routes = dict(routes)

    def open_cpus(self) -> None:
        """Open the buffers of CPUs that are online now, and of those that ever had an event."""
        online = _ONLINE.read_text().strip()
        if online == self._online:
            return
        for cpu in self._instance.cpus():
            if cpu not in self._buffers and cpu < MAX_CPUS:
                self._open_if_used(cpu, cpu in parse_cpus(online))
        self._online = online

    def _open_if_used(self, cpu: int, is_online: bool) -> None:
        opened = self._instance.open_cpu(cpu)
        stats = opened.stats()
        if is_online or stats.entries or stats.read or stats.lost:
            self._buffers[cpu] = opened
        else:
            opened.close()

    @property
    def descriptors(self) -> list[int]:
        """What to poll: readable when a buffer is a quarter full."""
        return [opened.fd for opened in self._buffers.values()]

    def take_some(self) -> None:
        """Apply what lies there, at most a MiB of each CPU. Raises TrackingError."""
        for cpu in self._buffers:
            self._take(cpu, _PAGES_AT_ONCE)

    def take_until_now(self) -> None:
        """Apply every event that was complete before the call. Raises TrackingError."""
        for cpu, opened in self._buffers.items():
            stats = opened.stats()
            self._take_until(cpu, stats.read + stats.entries)

    def _take_until(self, cpu: int, target: int) -> None:
        """An event that was interrupted counts before it can be read: the counter says when all are here."""
        deadline = time.monotonic() + _PATIENCE
        while self._ledger.applied[cpu] < target:
            if self._take(cpu, _PAGES_AT_ONCE):
                continue
            stats = self._buffers[cpu].stats()
            if stats.entries == 0:
                return
            if time.monotonic() > deadline:
                raise TrackingError(f"the trace buffer of CPU {cpu} keeps {stats.entries} events to itself")
            time.sleep(0)

    def _take(self, cpu: int, most: int) -> bool:
        opened, page = self._buffers[cpu], self._ledger.page
        self._ledger.cpu = cpu
        for number in range(most):
            if not opened.read_into(page):
                return number > 0
            self._apply(cpu)
        return True

    def _apply(self, cpu: int) -> None:
        page = bytes(self._ledger.page)
        parsed = parse_page(page, self._form)
        self.missed |= parsed.missed
        self._mark(self._decoder.writes(page, parsed.records))
        self._ledger.applied[cpu] += len(parsed.records)
        self._forget_page()
        self.taken += len(parsed.records)

    def _forget_page(self) -> None:
        at = self._form.commit_at
        self._ledger.page[at : at + self._form.commit_size] = bytes(self._form.commit_size)

    def _mark(self, writes: Iterable[Write]) -> None:
        marks: dict[DirtyMap, list[tuple[int, int]]] = {}
        for write in writes:
            if self._sieve is not None and not self._sieve(write):
                continue
            start = write.sector * SECTOR
            end = start + write.sectors * SECTOR
            for route in self._routes.get(write.device, ()):
                low, high = max(start, route.offset), min(end, route.offset + route.size)
                if low < high:
                    marks.setdefault(route.dirty, []).append((low - route.offset, high - low))
        for dirty, ranges in marks.items():
            dirty.mark_all(ranges)

    def recover(self) -> None:
        """Apply the page that an earlier process read and did not account for. Raises TrackingError."""
        cpu = self._ledger.cpu
        opened = self._buffers.get(cpu)
        if opened is None:
            return
        parsed: Page = parse_page(bytes(self._ledger.page), self._form)
        if opened.stats().read == self._ledger.applied[cpu] + len(parsed.records):
            self._apply(cpu)
        self._forget_page()

    def gap(self) -> str:
        """How the kernel's counters differ from what was applied; nothing if no event was lost."""
        if self.missed:
            return "the kernel says that it lost events"
        for cpu, opened in self._buffers.items():
            stats = opened.stats()
            lost = stats.lost - self._ledger.lost[cpu]
            if lost:
                return f"{lost} events were lost because the trace buffer of CPU {cpu} was full"
            if stats.read != self._ledger.applied[cpu]:
                counted = (
                    f"{stats.read} events of CPU {cpu} were read, {self._ledger.applied[cpu]} by the agent"
                )
                return f"{counted}: another program reads or empties the trace buffer"
        return ""

    def settle(self) -> None:
        """Begin new books: what was lost so far is accounted for elsewhere."""
        self.missed = False
        for cpu, opened in self._buffers.items():
            stats = opened.stats()
            self._ledger.lost[cpu] = stats.lost
            self._ledger.applied[cpu] = stats.read
        self._forget_page()

    def close(self) -> None:
        """Let go of the buffers and the ledger."""
        for opened in self._buffers.values():
            opened.close()
        self._buffers.clear()
        self._ledger.close()


def parse_cpus(text: str) -> set[int]:
    """The CPUs of a list like 0-3,8."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        low, _, high = part.partition("-")
        found |= set(range(int(low), int(high or low) + 1))
    return found
