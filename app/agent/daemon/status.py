"""What goes on, kept where everybody may write it down: the loop, the passes, the tracker, the cut.

The heartbeat reads it as a wire Status. Everything here is quick and takes one lock; the tallies of a pass
are read as they are.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.rates import RateRing, Sample
from app.wire.heartbeat import ACTIVITIES, DiskStatus, Status

MOST_DETAIL = 1000
MOST_NOTE = 1000
MOST_METHOD = 32

Backlog = Callable[[], Mapping[str, int]]
"""Bytes known to be dirty, by disk key."""


@dataclass(frozen=True)
class _Now:
    """What is done, and why."""

    activity: str = "starting"
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class _Tracking:
    """How a disk is tracked."""

    method: str
    note: str


class Board:
    """See above. Safe to use from any thread."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`monotonic` counts seconds, `clock` is the source's own time."""
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._now = _Now()
        self._passes: tuple[DiskPass, ...] = ()
        self._is_passing = False
        self._began = 0.0
        self._passing = 0.0
        self._past_wire = self._past_read = 0
        self._written: Callable[[], int] = int
        self._sent: int | None = None
        self._backlog: Backlog = dict
        self._tracking: dict[str, _Tracking] = {}
        self._freeze: tuple[int | None, int] = (None, 0)
        self._ring = RateRing(Sample(monotonic()))

    def activity(self, name: str, reason: str = "", detail: str = "") -> None:
        """What is done from now on: one of ACTIVITIES, with a reason that the contract knows and a sentence.

        Raises ValueError for another name.
        """
        if name not in ACTIVITIES:
            raise ValueError(f"{name!r} is no activity: use one of {', '.join(sorted(ACTIVITIES))}")
        with self._lock:
            self._now = _Now(name, reason, detail[:MOST_DETAIL])

    @property
    def doing(self) -> str:
        """The activity."""
        return self._now.activity

    def watch(self, passes: tuple[DiskPass, ...]) -> None:
        """These passes begin; their tallies are what is reported from now on."""
        with self._lock:
            self._end_passes()
            self._passes, self._is_passing = passes, True
            self._began = self._monotonic()

    def unwatch(self) -> None:
        """The passes are over, well or not; their last tallies go on being reported."""
        with self._lock:
            self._end_passes()

    def _end_passes(self) -> None:
        """Add what the passes did to the totals, once."""
        if self._is_passing:
            self._is_passing = False
            self._passing += self._monotonic() - self._began
            self._past_wire += sum(each.tally.counted.wire for each in self._passes)
            self._past_read += sum(each.tally.counted.read for each in self._passes)

    def backlog_from(self, source: Callable[[], Mapping[str, int]]) -> None:
        """Ask `source` for the dirty bytes of each disk, by key; a disk that it does not name has none."""
        self._backlog = source

    def written_from(self, source: Callable[[], int]) -> None:
        """Ask `source` for the bytes that were written to the source's disks since the start."""
        self._written = source

    def tracker_note(self, key: str, method: str, note: str) -> None:
        """The disk `key` is tracked by `method` (empty: not at all); `note` says why, or why anew."""
        with self._lock:
            self._tracking[key] = _Tracking(method[:MOST_METHOD], note[:MOST_NOTE])

    def sent(self, total: int) -> None:
        """Bytes sent since the start, by whoever counts them all; else those of the watched passes count."""
        with self._lock:
            self._sent = total

    def froze(self, seconds: float, reread_bytes: int) -> None:
        """The newest cut froze the source for so long, and read so much meanwhile."""
        with self._lock:
            self._freeze = (round(seconds * 1000), reread_bytes)

    @property
    def eta(self) -> float | None:
        """Seconds until the pass that runs is through at its present speed; None where that is not known."""
        with self._lock:
            return self._eta()

    def status(self) -> Status:
        """All of it, for a heartbeat; the rates are sampled here, so it wants to be asked every minute."""
        backlog, written = self._backlog(), self._written()
        with self._lock:
            now = self._sample(written)
            self._ring.take(now)
            eta, (freeze_ms, reread) = self._eta(), self._freeze
            return Status(
                activity=self._now.activity,
                clock=self._clock().isoformat(),
                reason=self._now.reason,
                detail=self._now.detail,
                disks=tuple(self._disk(each, backlog) for each in self._passes),
                rates=self._ring.rates(now),
                eta_ms=None if eta is None else round(eta * 1000),
                freeze_ms=freeze_ms,
                reread_bytes=reread,
            )

    def _sample(self, written: int) -> Sample:
        live = self._passes if self._is_passing else ()
        wire = self._past_wire + sum(each.tally.counted.wire for each in live)
        read = self._past_read + sum(each.tally.counted.read for each in live)
        now = self._monotonic()
        passing = self._passing + (now - self._began if self._is_passing else 0.0)
        return Sample(now, written, wire if self._sent is None else self._sent, read, passing)

    def _eta(self) -> float | None:
        if not self._is_passing:
            return None
        done = sum(each.tally.done for each in self._passes)
        left = sum(each.tally.work for each in self._passes) - done
        took = self._monotonic() - self._began
        return left * took / done if done and took > 0 else None

    def _disk(self, each: DiskPass, backlog: Mapping[str, int]) -> DiskStatus:
        tally, key = each.tally, each.base.key
        tracking = self._tracking.get(key, _Tracking("", ""))
        return DiskStatus(
            key=key,
            size=tally.size,
            used=max(0, tally.size - each.capture.omitted.total),
            seen=tally.untouched,
            sent=tally.counted.sent + tally.counted.patched,
            known=tally.counted.known,
            backlog=backlog.get(key, 0),
            unreadable=each.unreadable,
            tracker=tracking.method,
            note=tracking.note,
        )
