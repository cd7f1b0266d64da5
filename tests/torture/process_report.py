"""What a torture run did and found."""

import time
from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Report:
    """Counts of cycles and faults, the slowest recoveries, and the violations."""

    seed: int
    cycles: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def cycle(self, campaign: str, fault: str, strikes: int = 1, seconds: float | None = None) -> None:
        """One more cycle, in which the fault struck so often and took so long to recover from."""
        self.cycles[campaign] += 1
        self.faults[fault] += strikes
        took = ""
        if seconds is not None:
            self.slowest[fault] = max(seconds, self.slowest.get(fault, 0.0))
            took = f", recovered in {seconds:.1f} s"
        print(f"  {campaign}: {fault} × {strikes}{took}", flush=True)

    def violated(self, what: str) -> None:
        """Something did not hold."""
        self.violations.append(what)

    def __str__(self) -> str:
        """The closing report."""
        minutes = (time.monotonic() - self.started) / 60
        lines = [
            f"seed {self.seed}, {minutes:.1f} minutes",
            f"cycles     {self.cycles.total()} ({_listed(self.cycles)})",
            f"faults     {self.faults.total()} ({_listed(self.faults)})",
            *[f"slowest    {fault}: {seconds:.1f} s" for fault, seconds in sorted(self.slowest.items())],
            f"violations {len(self.violations)}",
            *[f"           {violation}" for violation in self.violations],
        ]
        return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
