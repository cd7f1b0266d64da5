"""Where the time comes from. Every time in go2cloud is an aware `datetime` in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the present time; services take one instead of asking the system."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""


class SystemClock:
    """The clock of this host."""

    def now(self) -> datetime:
        """The present, aware, in UTC."""
        return datetime.now(UTC)


def parsed_time(text: str) -> datetime:
    """The moment that an ISO-8601 time with its zone states, in UTC. Raises ValueError, which names it."""
    try:
        stated = datetime.fromisoformat(text)
        moment = stated.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:64]!r} is not an ISO-8601 time") from error
    if stated.tzinfo is None:
        raise ValueError(f"the time {text[:64]!r} does not state its zone")
    return moment


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, start: datetime) -> None:
        """Start at `start`, which must be aware."""
        if start.tzinfo is None:
            raise ValueError("a clock needs an aware time: give the start a time zone")
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The time it was last set to, aware, in UTC."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move forward by `by`."""
        self._now += by
