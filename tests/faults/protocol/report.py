"""The closing report: what was run, what was done to it, and that every mutant was caught."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.protocol.explore import Outcome
from tests.faults.protocol.mutants import Mutant


@dataclass(frozen=True)
class Caught:
    """A mutant's end: in which seed, after how many steps, how long the shrunk schedule is."""

    mutant: Mutant
    seed: int
    steps: int
    shortest: int
    violation: str


@dataclass
class Report:
    """Grows while tests run."""

    seeds: int = 0
    steps: int = 0
    commits: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    caught: list[Caught] = field(default_factory=list)
    replayed: int = 0
    compared: int = 0

    def add(self, outcome: Outcome) -> None:
        """A seed of the model was run."""
        self.seeds += 1
        self.steps += outcome.steps
        self.commits += outcome.commits
        self.faults += outcome.faults
        if outcome.violation:
            self.violations.append(f"seed {outcome.seed}: {outcome.violation}")

    def add_replay(self, compared: int) -> None:
        """A seed was replayed on the real services."""
        self.replayed += 1
        self.compared += compared

    @property
    def is_empty(self) -> bool:
        """Whether nothing was run."""
        return not (self.seeds or self.caught or self.replayed)

    def lines(self) -> Iterator[str]:
        """In plain text."""
        faults = ", ".join(f"{kind} {number}" for kind, number in sorted(self.faults.items()))
        yield f"model: {self.seeds} seeds, {self.steps} steps, {self.commits} checkpoints"
        yield f"faults injected: {sum(self.faults.values())}: {faults or 'none'}"
        yield f"real services: {self.replayed} seeds replayed, {self.compared} answers the same"
        yield f"violations: {len(self.violations)}"
        yield from (f"  {violation}" for violation in self.violations)
        for found in sorted(self.caught, key=lambda item: tuple(Mutant).index(item.mutant)):
            yield (
                f"mutant caught in seed {found.seed} after {found.steps} steps (shrunk: {found.shortest}): "
                f"{found.mutant.value}: {found.violation}"
            )


REPORT = Report()
"""That of this process."""
