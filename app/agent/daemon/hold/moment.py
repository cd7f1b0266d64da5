"""The time that a hold's dead-man counts by: since boot, suspended or not, and which boot it is."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """`ms` are milliseconds since the host was booted, for the time that `boot` lasts."""

    boot: str
    ms: int


def now() -> Moment:
    """This moment. No change of the host's clock moves it, and a new agent goes on counting."""
    return Moment(_BOOT_ID.read_text().strip(), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
