"""What the fault tests counted, for the closing report of a run."""

from dataclasses import dataclass, field


@dataclass
class Entry:
    """One kind of fault: cycles run, faults injected, violations found."""

    cycles: int = 0
    faults: int = 0
    violations: int = 0


@dataclass
class Ledger:
    """Entries by name, in the order of the tests."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def note(self, name: str, *, cycles: int = 0, faults: int = 0, violations: int = 0) -> None:
        """Add to an entry."""
        entry = self.entries.setdefault(name, Entry())
        entry.cycles += cycles
        entry.faults += faults or cycles
        entry.violations += violations

    def lines(self) -> list[str]:
        """The report, one line an entry and one for the sum."""
        names = [*self.entries, "all"]
        rows = [*self.entries.values(), self._sum()]
        width = max(map(len, names))
        return [
            f"{name:{width}}  {row.cycles:6} cycles  {row.faults:6} faults  {row.violations:4} violations"
            for name, row in zip(names, rows, strict=True)
        ]

    def _sum(self) -> Entry:
        rows = self.entries.values()
        return Entry(
            sum(row.cycles for row in rows),
            sum(row.faults for row in rows),
            sum(row.violations for row in rows),
        )
