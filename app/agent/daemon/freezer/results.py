"""What freezing and thawing came to."""

import os
from dataclasses import dataclass

from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.freezer.protocol import Fate


@dataclass(frozen=True)
class Outcome:
    """What became of a filesystem; `error` is an errno or 0."""

    standing: Standing
    fate: Fate
    error: int = 0

    def __str__(self) -> str:
        """A clause: which filesystem, and what."""
        words = _WORDS[self.fate]
        reason = f": {os.strerror(self.error)}" if self.error else ""
        return f"{self.standing.kind} at {self.standing.target} {words}{reason}"


_WORDS = {
    Fate.UNTOUCHED: "was not tried",
    Fate.FROZEN: "is frozen",
    Fate.SYNCED: "knows no freezing and was written back",
    Fate.REFUSED: "cannot be frozen",
    Fate.THAWED: "was thawed",
    Fate.STRANGER: "was thawed by somebody else",
    Fate.STUCK: "does not thaw",
    Fate.LATE: "took too long to freeze and was thawed",
}


@dataclass(frozen=True)
class Frozen:
    """All is frozen. `began` is the first freeze (CLOCK_MONOTONIC), `took` seconds until the last."""

    outcomes: tuple[Outcome, ...]
    began: float
    took: float

    @property
    def unfrozen(self) -> tuple[Standing, ...]:
        """The filesystems that know no freezing: written back, but writable."""
        return tuple(outcome.standing for outcome in self.outcomes if outcome.fate is Fate.SYNCED)


@dataclass(frozen=True)
class Thawed:
    """All is thawed. `seconds` are those from the first freeze to the last thaw."""

    outcomes: tuple[Outcome, ...]
    seconds: float
    timer_fired: bool = False
    freezer_died: bool = False

    @property
    def was_held(self) -> bool:
        """Whether nothing could be written to what was frozen until the thaw was asked for."""
        kept = all(outcome.fate in (Fate.THAWED, Fate.SYNCED) for outcome in self.outcomes)
        return kept and not self.timer_fired and not self.freezer_died
