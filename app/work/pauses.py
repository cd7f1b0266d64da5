"""How long a step that failed waits until it is tried again: longer each time, bounded, and at random."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

FIRST: Final = timedelta(seconds=2)
MOST: Final = timedelta(minutes=5)
"""A pause that ends later than this from now is the mark of a clock that was set back: it is over."""

_MOST_DOUBLINGS: Final = 20


def pause(failures: int, draw: Callable[[], float]) -> timedelta:
    """The pause after this many failures; `draw` gives a number from 0 to 1 and spreads it: half to whole.

    Many jobs that failed for one cause do not come back at one moment.
    """
    longest: timedelta = min(FIRST * 2 ** min(max(failures, 1) - 1, _MOST_DOUBLINGS), MOST)
    return longest * (0.5 + draw() / 2)
