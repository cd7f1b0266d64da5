"""What a pass has done so far, counted by several threads."""

import threading
from dataclasses import dataclass, field

from app.wire.messages import Counters


@dataclass
class Tally:
    """Counters of one disk's pass, in bytes; `seen` is how far the pass got, whatever was done there.

    `work` is what it has to get through: what its rounds announced, what is done again counted again. Before
    the first of them it is the whole disk.
    """

    size: int
    seen: int = 0
    announced: int = 0
    counted: Counters = field(default_factory=Counters)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def work(self) -> int:
        """Bytes that the pass has to get through, as far as that is known."""
        return self.announced or self.size

    @property
    def done(self) -> int:
        """Bytes of `work` that it got through."""
        return min(self.seen, self.work)

    @property
    def untouched(self) -> int:
        """Bytes of the disk that it need not look at any more."""
        return max(0, self.size - (self.work - self.done))

    def announce(self, count: int) -> None:
        """A round is to get through so many bytes more."""
        with self._lock:
            self.announced += count

    def add(self, more: Counters, seen: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.counted = Counters.total((self.counted, more))
            self.seen += seen
