"""What processes use, by the kernel's own accounts."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the start, and the most memory that was ever resident, in MiB."""

    cpu_seconds: float
    peak_mib: int


def usage_of(pid: int) -> Usage:
    """The usage of a process that runs."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
    assert peak is not None
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(peak[1]) // 1024)
