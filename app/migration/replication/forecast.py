"""Whether replication catches up, when, and how long the source would stand still in a cutover now.

Rounds of pre-copy: while one is sent, more is written. With `drain` (changed bytes that can be sent each
second) above `dirty` (bytes that are changed each second) the backlog is gone after
backlog / (drain - dirty) seconds, the sum of a geometric series. A round also has a fixed cost (asking,
waiting until all is durable), so that the last one leaves dirty * t with t = ROUND / (1 - dirty / drain).
The chunks of that are read ahead as far as AHEAD_BYTES go, and then only its blocks while the source is
frozen; where they are more, a cut would have to read them whole.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from app.kit.amounts import size_text

ROUND_SECONDS: Final = 1.0
"""What a round costs however little it sends: a session, an inquiry, a put made durable, a commit."""

FREEZE_SECONDS: Final = 0.2
"""What a freeze costs besides reading, where no cut of this server tells better."""

LONGEST: Final = timedelta(days=365)
"""What takes longer is not worth its exact number."""

RESERVE: Final = 2
AHEAD_BYTES: Final = 96 << 20
"""What an agent reads ahead of a cut, in whole chunks."""

READ_RATE: Final = 100_000_000
"""Bytes a second that a disk is taken to give as long as it was not measured: a slow hard disk."""


class Verdict(StrEnum):
    """What the forecast comes to."""

    IN_SYNC = "IN_SYNC"
    CONVERGES = "CONVERGES"
    FIRST_COPY = "FIRST_COPY"
    NOT_TRACKED = "NOT_TRACKED"
    LINK_TOO_SLOW = "LINK_TOO_SLOW"
    DISKS_TOO_SLOW = "DISKS_TOO_SLOW"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Load:
    """What a forecast is made from: bytes, and bytes a second; 0 of a rate is not measured.

    `is_first_copy`: there is no checkpoint yet. `is_tracked`: what is written is known. `wire`: what is sent
    at present, `limit`: what may be. `amplification`: bytes of whole chunks that are read for each byte
    changed, at least 1. `wire_cost`: bytes sent for each byte changed. `freeze_overhead`: seconds of a freeze
    besides reading. `keeps_up`: the lag is small, so that what is sent is what there was to send, and not
    what the link takes.
    """

    backlog: int
    dirty: int
    wire: int
    read: int = 0
    limit: int | None = None
    is_first_copy: bool = False
    is_tracked: bool = True
    amplification: float = 1.0
    wire_cost: float = 1.0
    freeze_overhead: float = FREEZE_SECONDS
    keeps_up: bool = False

    @property
    def drain(self) -> float | None:
        """Changed bytes a second that link and disks allow; None where the link's speed is not known."""
        link = self.link
        reading = max(self._reading / self.amplification, RESERVE * self.dirty if self.keeps_up else 0)
        return None if link is None else min(link / self.wire_cost, reading)

    @property
    def link(self) -> int | None:
        """Bytes a second that the link takes, as far as is known; None where it is not.

        A link that keeps up is taken to be RESERVE times as fast as it has to be, and so are the disks.
        """
        needed = round(RESERVE * self.dirty * self.wire_cost) if self.keeps_up else 0
        measured = max(self.wire, needed)
        return min(measured or self.limit, self.limit) if self.limit else measured or None

    @property
    def is_limited(self) -> bool:
        """Whether the limit is what holds the link back."""
        return self.limit is not None and (self.link or 0) >= 0.9 * self.limit

    @property
    def _reading(self) -> int:
        return self.read or READ_RATE

    def frozen_for(self, changed: float) -> timedelta:
        """How long the source stands still while this many changed bytes are read."""
        chunks = changed * self.amplification
        reading = changed if chunks <= AHEAD_BYTES else chunks
        return _seconds(self.freeze_overhead + reading / self._reading)


@dataclass(frozen=True, slots=True)
class Forecast:
    """`converges` is None where nothing can be said; `caught_up_in` and `freeze` where they have no end or no
    meaning. `explanation` is a sentence for people."""

    verdict: Verdict
    converges: bool | None
    explanation: str
    caught_up_in: timedelta | None = None
    freeze: timedelta | None = None


def forecast(load: Load) -> Forecast:
    """What becomes of this load."""
    if load.is_first_copy:
        return Forecast(Verdict.FIRST_COPY, None, "the first copy is not complete")
    if not load.is_tracked:
        why = "writes are not tracked: what was changed since the newest checkpoint is not known"
        return Forecast(Verdict.NOT_TRACKED, None, why)
    drain = load.drain
    if drain is None:
        return _unmeasured(load)
    if drain <= load.dirty:
        return _diverging(load)
    seconds = load.backlog / (drain - load.dirty)
    left = min(load.dirty * ROUND_SECONDS / (1 - load.dirty / drain), float(load.backlog + load.dirty))
    return _converging(load, _seconds(seconds), load.frozen_for(left))


def _unmeasured(load: Load) -> Forecast:
    """Nothing was sent lately: an idle source is in sync, of any other nothing can be said."""
    if load.backlog or load.dirty:
        return Forecast(
            Verdict.UNKNOWN, None, "nothing was sent in the last minutes: the speed of the link is not known"
        )
    return _converging(load, timedelta(), load.frozen_for(0))


def _converging(load: Load, caught_up_in: timedelta, freeze: timedelta) -> Forecast:
    says = f"cutover now would freeze {freeze.total_seconds():.1f} s"
    if not load.backlog:
        return Forecast(Verdict.IN_SYNC, True, f"in sync; {says}", caught_up_in, freeze)
    when = f"caught up in {_duration(caught_up_in)}"
    return Forecast(Verdict.CONVERGES, True, f"{when}; {says}", caught_up_in, freeze)


def _diverging(load: Load) -> Forecast:
    """More is changed than can be sent: the whole backlog would have to be read in the freeze."""
    link, written = load.link or 0, f"{size_text(load.dirty)}/s are written"
    is_link = link / load.wire_cost <= load.dirty
    freeze = load.frozen_for(load.backlog)
    says = f"cutover now would freeze {freeze.total_seconds():.1f} s"
    if not is_link:
        why = f"{written}, and the disks are read too slowly for more than {size_text(load.drain or 0)}/s"
        return Forecast(Verdict.DISKS_TOO_SLOW, False, f"{why}; {says}", None, freeze)
    by = "the limit lets through" if load.is_limited else "the link takes"
    why = f"{written}, and {by} {size_text(link)}/s"
    return Forecast(Verdict.LINK_TOO_SLOW, False, f"{why}; {says}", None, freeze)


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=round(min(value, LONGEST.total_seconds()), 3))


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min" if seconds >= 120 else f"{seconds} s"
