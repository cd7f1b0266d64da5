"""The load that a forecast is made from, out of an agent's status and the server's head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.migration.replication.forecast import FREEZE_SECONDS, Load
from app.wire.heartbeat import Status

LEAST_OVERHEAD: Final = 0.05
MOST_AMPLIFICATION: Final = 64.0
"""A chunk of 256 KiB that is read for each changed block of 4 KiB."""

WHOLE: Final = "rescan"
"""The capture method that reads disks whole: what it read says nothing about changes."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the head checkpoint's making told: its capture method and its counters in bytes."""

    method: str
    counters: Mapping[str, int]


def load_of(status: Status, head: Head | None, limit: int | None, *, keeps_up: bool) -> Load:
    """The load of a server whose agent reported `status`."""
    rates = status.rates
    return Load(
        backlog=sum(disk.backlog for disk in status.disks),
        dirty=rates.dirty,
        wire=rates.wire,
        read=rates.read,
        limit=limit,
        is_first_copy=head is None,
        is_tracked=bool(status.disks) and all(disk.tracker for disk in status.disks),
        amplification=_amplification(head),
        wire_cost=_wire_cost(head),
        freeze_overhead=_overhead(status),
        keeps_up=keeps_up,
    )


def _amplification(head: Head | None) -> float:
    """Bytes read for each byte changed, as the newest checkpoint took: what was changed is known by what it
    weighed on the wire. 1 where the head was made by reading everything."""
    if head is None or WHOLE in head.method:
        return 1.0
    changed = head.counters.get("wire", 0) / _wire_cost(head)
    read = head.counters.get("read", 0)
    return min(MOST_AMPLIFICATION, max(1.0, read / changed)) if changed else 1.0


def _wire_cost(head: Head | None) -> float:
    """Bytes sent for each byte changed: patches weigh about as much as the change, whole chunks are
    compressed."""
    counters = head.counters if head else {}
    sent, patched, wire = (counters.get(name, 0) for name in ("sent", "patched", "wire"))
    if not sent or patched * 4 > sent:
        return 1.0
    return min(1.0, max(0.01, wire / (sent + patched)))


def _overhead(status: Status) -> float:
    """Seconds of the newest freeze that were not reading."""
    if status.freeze_ms is None or not status.rates.read:
        return FREEZE_SECONDS
    return max(LEAST_OVERHEAD, status.freeze_ms / 1000 - status.reread_bytes / status.rates.read)
