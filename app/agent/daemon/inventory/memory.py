"""Size of the memory, from /proc/meminfo."""

from dataclasses import replace
from pathlib import Path

from app.wire.messages import Inventory


def collect_memory(found: Inventory) -> Inventory:
    """Fill in memory_bytes."""
    return replace(found, memory_bytes=total_of(Path("/proc/meminfo").read_text()))


def total_of(meminfo: str) -> int:
    """MemTotal in bytes. Raises ValueError for a text without it."""
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise ValueError("/proc/meminfo has no MemTotal")
