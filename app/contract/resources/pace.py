"""Pace: how many bytes a second may travel, and when."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from app.contract.resources.base import Input, Resource
from app.kit.ratewindows import (
    MOST_RATE,
    MOST_WINDOWS,
    RateCalendar,
    RateWindow,
    Weekday,
    minutes_of,
    time_text,
)

Rate = Annotated[int, Field(ge=0, le=MOST_RATE)]
"""Bytes a second; 0 sends nothing."""

_TIME_OF_DAY = r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$"


class PaceWindow(Resource):
    """A part of the week with a rate of its own.

    `from` and `to` are local times of `zone`, a name of the IANA database. Where `to` is earlier the window
    ends on the day after; 00:00 to 24:00 is a whole day. A null rate is no limit, 0 sends nothing.
    """

    days: tuple[Weekday, ...]
    start: Annotated[str, Field(alias="from", pattern=_TIME_OF_DAY)]
    end: Annotated[str, Field(alias="to", pattern=_TIME_OF_DAY)]
    zone: Annotated[str, Field(max_length=64)]
    rate: Rate | None

    @model_validator(mode="after")
    def _require_usable(self) -> Self:
        self.window()
        return self

    def window(self) -> RateWindow:
        """The same as the domain counts with it. Raises ValueError, which names the window and the remedy."""
        return RateWindow(self.days, minutes_of(self.start), minutes_of(self.end), self.zone, self.rate)


class Pace(Resource):
    """The most that may be sent: the rate of the first window that the present lies in, else `rate`.

    Bytes a second; a null rate is no limit, 0 sends nothing.
    """

    rate: Rate | None = None
    windows: Annotated[tuple[PaceWindow, ...], Field(max_length=MOST_WINDOWS)] = ()

    def calendar(self) -> RateCalendar:
        """The same as the domain counts with it."""
        return RateCalendar(self.rate, tuple(window.window() for window in self.windows))


class PaceWindowInput(PaceWindow):
    """A window as a client sends it: unknown members are refused."""

    model_config = ConfigDict(**Input.model_config)

    @classmethod
    def of(cls, window: RateWindow) -> Self:
        """From a window as people write it."""
        return cls(
            days=window.days,
            start=time_text(window.start),
            end=time_text(window.end),
            zone=window.zone,
            rate=window.rate,
        )


class PaceInput(Pace):
    """A pace as a client sends it: unknown members are refused."""

    model_config = ConfigDict(**Input.model_config)

    windows: Annotated[tuple[PaceWindowInput, ...], Field(max_length=MOST_WINDOWS)] = ()

    @classmethod
    def of(cls, calendar: RateCalendar) -> Self:
        """From a calendar as people write it."""
        return cls(rate=calendar.rate, windows=tuple(map(PaceWindowInput.of, calendar.windows)))
