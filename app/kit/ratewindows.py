"""Weekly windows of time, each with a rate: how they are written, and what makes one valid.

As text a window is four words, ``Mon-Fri 08:00-18:00 Europe/Berlin 5MiB``: days (names, lists, spans, or
``daily``), from and to in local time, a time zone of the IANA database, and a rate in bytes a second. ``to``
may be earlier than ``from``: the window then ends on the day after. ``00:00-24:00`` is a whole day. The rate
``unlimited`` sets no limit, 0 sends nothing.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ByteSize, TypeAdapter, ValidationError

UNLIMITED: Final = "unlimited"
DAILY: Final = "daily"
MINUTES_A_DAY: Final = 24 * 60
MOST_RATE: Final = 1 << 50
MOST_WINDOWS: Final = 64

Rate: TypeAlias = int | None
"""Bytes a second; None for no limit, 0 for nothing at all."""

_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)|24:00")
_SIZE: Final = TypeAdapter(ByteSize)


class Weekday(StrEnum):
    """A day of the week, in the order of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


WEEK: Final = tuple(Weekday)


@dataclass(frozen=True, slots=True)
class RateWindow:
    """On `days`, from `start` to `end` (minutes of the day, local time of `zone`), at most `rate`.

    Where `end` is not later than `start`, the window ends on the following day. Raises ValueError, which
    names the window and what to write instead.
    """

    days: tuple[Weekday, ...]
    start: int
    end: int
    zone: str
    rate: Rate

    def __post_init__(self) -> None:
        """Refuse what no time lies in, and zones that nobody knows."""
        if not self.days:
            raise self._refused("has no days", "name at least one, such as Mon-Fri")
        if not (0 <= self.start < MINUTES_A_DAY and 0 <= self.end <= MINUTES_A_DAY):
            raise self._refused("lies outside of the day", "write times from 00:00 to 24:00")
        if self.start == self.end:
            raise self._refused("begins and ends at the same time", "for a whole day write 00:00-24:00")
        if self.rate is not None and not 0 <= self.rate <= MOST_RATE:
            raise self._refused("has a rate that is none", "write bytes a second, such as 5MiB, or unlimited")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise self._refused(
                f"is in the time zone {self.zone!r}, which is not known",
                "write one like Europe/Berlin or UTC",
            ) from error

    def __str__(self) -> str:
        """The window as text; `parsed_window` reads it again."""
        return f"{days_text(self.days)} {self.span} {self.zone} {rate_text(self.rate)}"

    @property
    def span(self) -> str:
        """From and to, ``08:00-18:00``."""
        return f"{time_text(self.start)}-{time_text(self.end)}"

    def _refused(self, problem: str, remedy: str) -> ValueError:
        name = f"{days_text(self.days) or '(no days)'} {self.span} {self.zone}"
        return ValueError(f"the window {name!r} {problem}; {remedy}")


@dataclass(frozen=True, slots=True)
class RateCalendar:
    """What holds when: the first window that the present time lies in, else `rate`."""

    rate: Rate = None
    windows: tuple[RateWindow, ...] = ()

    @property
    def is_unlimited(self) -> bool:
        """Whether it never limits anything."""
        return self.rate is None and all(window.rate is None for window in self.windows)


def parsed_window(text: str) -> RateWindow:
    """A window from its text. Raises ValueError, which names the window and the remedy."""
    words = text.split()
    if len(words) != 4:
        raise _unreadable(text, "it has not four words")
    days, span, zone, rate = words
    try:
        start, _, end = span.partition("-")
        return RateWindow(parsed_days(days), minutes_of(start), minutes_of(end), zone, parsed_rate(rate))
    except UnreadablePart as error:
        raise _unreadable(text, str(error)) from error


def parsed_windows(text: str) -> tuple[RateWindow, ...]:
    """Windows from lines, or from texts with semicolons in between. Raises ValueError."""
    found = tuple(parsed_window(part) for part in re.split(r"[;\n]", text) if part.strip())
    if len(found) > MOST_WINDOWS:
        raise ValueError(f"{len(found)} windows are more than {MOST_WINDOWS}: write fewer")
    return found


class UnreadablePart(ValueError):
    """A part of a window's text: days, a time, or a rate."""


def _unreadable(text: str, problem: str) -> ValueError:
    return ValueError(
        f"the window {text.strip()!r} cannot be read: {problem}; "
        "write it like 'Mon-Fri 08:00-18:00 Europe/Berlin 5MiB'"
    )


def parsed_days(text: str) -> tuple[Weekday, ...]:
    """Days from ``Mon-Fri``, ``Sat,Sun``, ``Fri-Mon`` or ``daily``, in the order of the week.

    Raises UnreadablePart.
    """
    if text.lower() == DAILY:
        return WEEK
    found: set[Weekday] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low, high = _day(first), _day(last if dash else first)
        found.update(WEEK[at % 7] for at in range(low, high + 1 if high >= low else high + 8))
    return tuple(day for day in WEEK if day in found)


def _day(text: str) -> int:
    try:
        return WEEK.index(Weekday(text.strip().capitalize()))
    except ValueError as error:
        raise UnreadablePart(f"{text!r} is not one of {', '.join(WEEK)}") from error


def days_text(days: tuple[Weekday, ...]) -> str:
    """Days as `parsed_days` reads them: spans of three or more are joined."""
    if set(days) == set(WEEK):
        return DAILY
    runs: list[list[int]] = []
    for at in sorted({WEEK.index(day) for day in days}):
        if runs and runs[-1][-1] == at - 1:
            runs[-1].append(at)
        else:
            runs.append([at])
    return ",".join(_run_text(run) for run in runs)


def _run_text(run: list[int]) -> str:
    return f"{WEEK[run[0]]}-{WEEK[run[-1]]}" if len(run) > 2 else ",".join(WEEK[at] for at in run)


def minutes_of(text: str) -> int:
    """Minutes of the day from ``08:00``, up to ``24:00``. Raises UnreadablePart."""
    if not _TIME.fullmatch(text):
        raise UnreadablePart(f"{text!r} is no time from 00:00 to 24:00")
    return int(text[:2]) * 60 + int(text[3:])


def time_text(minutes: int) -> str:
    """``08:00``."""
    return f"{minutes // 60:02}:{minutes % 60:02}"


def parsed_rate(text: str) -> Rate:
    """Bytes a second from ``5MiB``, ``5MiB/s``, ``0`` or ``unlimited``. Raises UnreadablePart."""
    if text.strip().lower() == UNLIMITED:
        return None
    try:
        rate = int(_SIZE.validate_python(text.strip().removesuffix("/s")))
    except ValidationError as error:
        raise UnreadablePart(f"{text!r} is no rate such as 5MiB, 0 or {UNLIMITED}") from error
    if not 0 <= rate <= MOST_RATE:
        raise UnreadablePart(f"the rate {text!r} is not between 0 and 1PiB a second")
    return rate


def rate_text(rate: Rate) -> str:
    """A rate as `parsed_rate` reads it, exactly: ``5MiB``."""
    if rate is None:
        return UNLIMITED
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if rate and rate % size == 0:
            return f"{rate // size}{unit}"
    return str(rate)
