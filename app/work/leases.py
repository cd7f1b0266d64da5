"""Leases without a clock that two hosts share.

A row holds no end of its lease, since wall clocks differ and jump. Its holder raises the row's `beat`; who
would succeed it looks at the row and takes over after it has seen the same fence and beat for a whole lease
by its own monotonic clock. The holder itself counts from before its last beat, by its own, and lets go at
`OWN_SHARE` of the lease: so it stops before anybody takes over, unless its process is paused, which the
fence is for. A process that has just begun has to look for one lease before it takes over anything.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

OWN_SHARE: Final = 0.7
BEAT_SHARE: Final = 0.25

Ticks: TypeAlias = Callable[[], float]
"""Seconds of a clock that never steps, such as `time.monotonic`."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A sign of life of a job's holder, as it stands in the row."""

    job_id: str
    fence: int
    beat: int


class Watch:
    """What one process has seen of the holders of others' jobs."""

    def __init__(self, lease_seconds: float, ticks: Ticks) -> None:
        """Nothing is seen yet."""
        self._lease = lease_seconds
        self._ticks = ticks
        self._since: dict[Sign, float] = {}

    def abandoned(self, signs: Iterable[Sign]) -> frozenset[str]:
        """Look at all held jobs; those whose holder gave no sign for a whole lease. Others are forgotten."""
        now = self._ticks()
        self._since = {sign: self._since.get(sign, now) for sign in signs}
        return frozenset(sign.job_id for sign, since in self._since.items() if now - since >= self._lease)
