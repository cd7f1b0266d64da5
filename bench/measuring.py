"""What one step of a peer cost: time, CPU of both ends, bytes on the wire, peak memory of both ends."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from bench.images import Image, make_cold
from bench.network import End
from bench.processes import Processes, Watch


@dataclass(frozen=True)
class Measured:
    """Seconds, CPU seconds and bytes of one step, or of several one after the other."""

    wall: float
    cpu_source: float
    cpu_target: float
    wire: int
    peak_source: int
    peak_target: int

    @property
    def cpu(self) -> float:
        """CPU seconds of both ends."""
        return self.cpu_source + self.cpu_target

    def then(self, other: Self) -> "Measured":
        """This step and another one after it."""
        return Measured(
            self.wall + other.wall,
            self.cpu_source + other.cpu_source,
            self.cpu_target + other.cpu_target,
            self.wire + other.wire,
            max(self.peak_source, other.peak_source),
            max(self.peak_target, other.peak_target),
        )


def measure(processes: Processes, image: Image, step: Callable[[], None]) -> Measured:
    """Carry out a step with a cold source and say what it cost."""
    make_cold(image.path)
    before = {id(process): process.cpu() for process in processes.started}
    wire = processes.network.wire_bytes()
    with Watch(processes):
        began = time.perf_counter()
        step()
        wall = time.perf_counter() - began
    crossed = processes.network.wire_bytes() - wire
    cpu, peak = dict.fromkeys(End, 0.0), dict.fromkeys(End, 0)
    for process in processes.started:
        cpu[process.end] += process.cpu() - before.get(id(process), 0.0)
        peak[process.end] += process.peak
    return Measured(wall, cpu[End.SOURCE], cpu[End.TARGET], crossed, peak[End.SOURCE], peak[End.TARGET])
