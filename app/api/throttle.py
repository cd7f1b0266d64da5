"""A brake on guessing passwords: so many attempts a minute for one name from one address, in this process.

Windows slide: an attempt counts for a minute. What is remembered is bounded by dropping what is past when
MOST names and addresses are in it; with that many live at once the oldest go first.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic

from app.kit.errors import TooManyRequests

WINDOW = 60.0
MOST = 10_000


class LoginThrottle:
    """Counts attempts; one per process. `seconds` is a monotonic clock."""

    def __init__(self, seconds: Callable[[], float] = monotonic) -> None:
        """Starts with no attempt known."""
        self._seconds = seconds
        self._attempts: dict[tuple[str, str], deque[float]] = {}

    def admit(self, user: str, address: str, most: int) -> None:
        """Count an attempt; raises TooManyRequests with `retryAfter` when there were `most` in a minute."""
        now = self._seconds()
        recent = self._attempts.pop((user.lower(), address), deque())
        while recent and recent[0] <= now - WINDOW:
            recent.popleft()
        self._attempts[user.lower(), address] = recent
        if len(recent) >= most:
            wait = int(recent[0] + WINDOW - now) + 1
            raise TooManyRequests(
                f"{most} attempts to log in as {user!r} from {address} within a minute",
                code="TOO_MANY_LOGINS",
                remedy=f"wait {wait} seconds",
                retryAfter=wait,
            )
        recent.append(now)
        self._forget()

    def _forget(self) -> None:
        while len(self._attempts) > MOST:
            del self._attempts[next(iter(self._attempts))]
