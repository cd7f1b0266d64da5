"""The lag: how old the newest copy is, from what copies show and when they were there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

STEP_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Copy:
    """A copy that shows the source as it was at `of`, and that was there at `done`; seconds of one clock."""

    of: float
    done: float


def lags(copies: Sequence[Copy], begin: float, end: float, step: float = STEP_SECONDS) -> Iterator[float]:
    """The age of the newest finished copy at every step from `begin` to `end`; none before the first one."""
    for number in range(int((end - begin) / step) + 1):
        now = begin + number * step
        ages = [now - copy.of for copy in copies if copy.done <= now]
        if ages:
            yield min(ages)
