"""Where the cases of a running host take place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.images import Image
from bench.live.host import Disk
from bench.measuring import Measured, measure
from bench.plan import LivePlan
from bench.processes import Processes

SETTLE_SECONDS: Final = 12.0
"""Of churn before it is measured: two intervals, and what the kernel first keeps in its cache."""
CHANGED_SHARES: Final = (0.01, 0.001)
"""Of the data, for a delta. In single blocks, 1 % touches nearly half of all chunks of 256 KiB."""

Told = Callable[[str], None]


@dataclass(frozen=True)
class Scene:
    """Where the cases take place. `writers` are the host's own processes, whose CPU is nobody's cost."""

    plan: LivePlan
    image: Image
    disk: Disk
    folder: Path
    processes: Processes
    writers: Processes
    tell: Told

    def measure(self, step: Callable[[], None]) -> Measured:
        """What a step costs the peer."""
        return measure(self.processes, self.image, step)
