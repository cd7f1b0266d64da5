"""How hard to compress: found out while the pass runs, from what keeps its bytes from arriving.

Compression has a price at both ends (the service unpacks to check) and a gain on the link and in the store.
Neither is known beforehand, and both differ from one part of a disk to the next. So nothing is predicted; for
each window of a pass it is asked what was short, which the kernel knows (see
`app.agent.daemon.link.congestion`):

    network    for some windows: a harder effort sends fewer bytes: the next harder one
    else       some processor, here or there, or the store: the next lighter one
    in doubt   no change for long

A slow store looks like a slow processor. So where the network is not short the next harder effort, too, is
tried now and then. What is tried stays if it makes the network short, or if as many plain bytes get through
as before; else it rests before it is tried again, ever longer. A lighter one may be slower by what rates
differ by from one part of a disk to the next: in doubt the processors are left to others. Bytes that do not
compress are sent plain.
"""

from dataclasses import dataclass, field
from typing import Final

from app.wire.chunks import MIB


@dataclass(frozen=True)
class Effort:
    """A zstd level, None for no compression; `rank` orders the efforts from light to hard."""

    rank: int
    level: int | None


NONE: Final = Effort(0, None)
LIGHT: Final = Effort(1, -5)
FULL: Final = Effort(2, 1)
HARD_LEVEL: Final = 3
HARD: Final = Effort(3, HARD_LEVEL)
EFFORTS: Final = (NONE, LIGHT, FULL, HARD)

_SHORT: Final = 0.9
"""Share of the time in which bytes waited for the network, from which on it is what is short."""
_SHORT_WINDOWS: Final = 4
"""So many windows one after the other: every third single one looks like that between two processes of one
machine, where nothing but the processors is short."""
_AMPLE: Final = 0.5
"""The share up to which the network is not short."""
_SOFT: Final = 1.05
"""Plain by packed bytes, below which compressing is in vain."""
_SOFT_WINDOWS: Final = 4
"""So many windows one after the other before compressing is given up for it while the network is short."""
_JUDGED_BYTES: Final = 256 * MIB
"""Plain bytes after which a trial is judged: parts of a disk differ threefold in how they compress."""
_DOUBT: Final = 0.07
"""Share of a rate by which it differs between parts of a disk that compress alike."""
_SETTLED_BYTES: Final = 1024 * MIB
"""Plain bytes without a change after which a neighbour is put on trial."""
_FIRST_REST: Final = 4
_LONGEST_REST: Final = 128
"""Windows."""


@dataclass(frozen=True)
class Window:
    """What got through within a short time, all of it packed with one effort.

    `raw` are plain bytes, `network` the seconds of these `seconds` in which the network, and neither end, was
    what kept bytes from arriving. `gain` is plain by packed bytes of the chunks.
    """

    seconds: float
    raw: int
    network: float
    gain: float


@dataclass
class _Rest:
    """For how many windows an effort is left alone, and for how many it will be the next time."""

    left: int = 0
    next: int = _FIRST_REST

    def begin(self) -> None:
        self.left, self.next = self.next, min(_LONGEST_REST, self.next * 2)


@dataclass
class _Stay:
    """How much got through with an effort since it was taken; on trial it must reach the rate before."""

    wanted: float = 0.0
    before: Effort | None = None
    raw: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return self.raw / self.seconds


@dataclass
class Controller:
    """Holds the effort of now; `learn` from one window after the other. Begins with FULL."""

    effort: Effort = FULL
    _rests: dict[Effort, _Rest] = field(default_factory=lambda: {effort: _Rest() for effort in EFFORTS})
    _stay: _Stay = field(default_factory=_Stay)
    _soft: int = 0
    _short: int = 0

    def learn(self, window: Window) -> None:
        """Take in a window that was packed with the effort of now, and choose the effort of the next one."""
        if not window.raw or window.seconds <= 0:
            return
        for rest in self._rests.values():
            rest.left = max(0, rest.left - 1)
        self._stay.raw += window.raw
        self._stay.seconds += window.seconds
        self._soft = self._soft + 1 if self.effort is not NONE and window.gain < _SOFT else 0
        share = window.network / window.seconds
        self._short = self._short + 1 if share >= _SHORT else 0
        self._choose(share)

    def _choose(self, share: float) -> None:
        """By the share of the time in which the network was short."""
        if self._soft >= (_SOFT_WINDOWS if share > _AMPLE else 1):
            self._rests[LIGHT].begin()
            self._take(NONE)
        elif self._short >= _SHORT_WINDOWS:
            self._climb()
        elif self._stay.before is not None:
            self._judge(self._stay.before)
        elif share <= _AMPLE or self._stay.raw >= _SETTLED_BYTES:
            self._descend()

    def _climb(self) -> None:
        harder = self._neighbour(1)
        if harder is not None:
            self._try(harder)

    def _descend(self) -> None:
        lighter, harder = self._neighbour(-1), self._neighbour(1)
        if lighter is not None and self._stay.raw >= _JUDGED_BYTES:
            self._try(lighter)
        elif lighter is not None:
            self._rests[self.effort].begin()
            self._take(lighter)
        elif harder is not None and self._stay.raw >= _SETTLED_BYTES:
            self._try(harder)

    def _judge(self, before: Effort) -> None:
        """Whether the effort on trial stays: at least as many plain bytes get through as before."""
        if self._stay.raw < _JUDGED_BYTES:
            return
        doubt = _DOUBT if self.effort.rank < before.rank else 0.0
        if self._stay.rate >= self._stay.wanted * (1 - doubt):
            self._rests[before].begin()
            self._stay.before = None
        else:
            self._rests[self.effort].begin()
            self._take(before)

    def _try(self, effort: Effort) -> None:
        stay = _Stay(self._stay.rate, self.effort)
        self._take(effort)
        self._stay = stay

    def _take(self, effort: Effort) -> None:
        self.effort = effort
        self._stay = _Stay()
        self._soft = self._short = 0

    def _neighbour(self, step: int) -> Effort | None:
        """The next effort in this direction, unless it rests."""
        rank = self.effort.rank + step
        if not 0 <= rank < len(EFFORTS) or self._rests[EFFORTS[rank]].left:
            return None
        return EFFORTS[rank]
