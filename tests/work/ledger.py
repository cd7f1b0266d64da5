"""The world outside, as steps change it: effects that are named by a key, made once, and can be taken back.

It compares fences as a careful target does: what carries a lower one than it has seen for a job is refused,
so that a worker that was paused changes nothing when it wakes up.
"""

from collections import Counter
from dataclasses import dataclass, field

from app.work.context import Context
from app.work.errors import Fenced


@dataclass
class Ledger:
    """What exists, and how often each thing was made, asked for and taken back."""

    there: dict[str, str] = field(default_factory=dict)
    """The job of each key that exists."""
    made: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    taken_back: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    fences: dict[str, int] = field(default_factory=dict)

    def make(self, context: Context) -> None:
        """The effect of a step: made when it is not there."""
        self._require_fence(context)
        self.asked[context.key] += 1
        if context.key not in self.there:
            self.there[context.key] = context.job_id
            self.made[context.key] += 1

    def take_back(self, context: Context) -> None:
        """The undo of the effect: harmless when it is not there."""
        self._require_fence(context)
        if self.there.pop(context.key, None) is not None:
            self.taken_back[context.key] += 1

    def of(self, job_id: str) -> set[str]:
        """The names of the steps whose effect exists."""
        return {key.split(".")[1] for key, job in self.there.items() if job == job_id}

    def _require_fence(self, context: Context) -> None:
        if context.fence < self.fences.get(context.job_id, 0):
            self.refused += 1
            raise Fenced("the target refused a lower fence")
        self.fences[context.job_id] = context.fence
