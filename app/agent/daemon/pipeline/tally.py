"""What a pass has done so far, counted by several threads."""

import threading
from dataclasses import dataclass, field

from app.wire.messages import Counters


@dataclass
class Tally:
    """Counters of one disk's pass, in bytes; `seen` is how far the pass got, whatever was done there."""

    size: int
    seen: int = 0
    counted: Counters = field(default_factory=Counters)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, more: Counters, seen: int = 0) -> None:
        """Add to the counters."""
        with self._lock:
            self.counted = Counters.total((self.counted, more))
            self.seen += seen
