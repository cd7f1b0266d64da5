"""When to ask the service what it has: always where it has something, now and then where it has nothing.

A question about a segment costs the service about as much CPU time as unpacking a quarter of it. In a run of
segments of which it has nothing, only every second and soon every fourth one is asked about; what is sent
although the service has it is only noted there. So at most three segments after a long such run are sent in
vain, less than one request may have unacknowledged.
"""

import threading
from typing import Final

_FIRST: Final = 4
"""Segments in a row of which nothing was known before one is left out."""
_LATER: Final = 8


class Inquiry:
    """Decides for the segments of a pass, from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._strange = 0
        self._left_out = 0

    def is_due(self) -> bool:
        """Whether to ask about the next segment."""
        with self._lock:
            if self._left_out >= self._most_left_out:
                self._left_out = 0
                return True
            self._left_out += 1
            return False

    def learn(self, known: int) -> None:
        """The service has `known` of the chunks that it was asked about."""
        with self._lock:
            self._strange = 0 if known else self._strange + 1

    @property
    def _most_left_out(self) -> int:
        if self._strange < _FIRST:
            return 0
        return 1 if self._strange < _LATER else 3
