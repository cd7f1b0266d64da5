"""Which rate holds at a moment: a pure function of calendar and time.

Windows are of the wall clock in their zone. So one that lies in the hour which summer time leaves out is
not entered on that day, one that reaches into that hour begins or ends with the leap, and one in the hour
that comes twice holds both times.
"""

from datetime import datetime
from zoneinfo import ZoneInfo

from app.kit.ratewindows import WEEK, Rate, RateCalendar, RateWindow


def rate_at(calendar: RateCalendar, now: datetime) -> Rate:
    """Bytes a second at `now` (aware): of the first window that holds, else the calendar's own."""
    for window in calendar.windows:
        if holds(window, now):
            return window.rate
    return calendar.rate


def holds(window: RateWindow, now: datetime) -> bool:
    """Whether `now` (aware) lies in the window; its start does, its end does not."""
    local = now.astimezone(ZoneInfo(window.zone))
    minute = local.hour * 60 + local.minute
    today, yesterday = WEEK[local.weekday()], WEEK[local.weekday() - 1]
    if window.start < window.end:
        return today in window.days and window.start <= minute < window.end
    return (today in window.days and minute >= window.start) or (
        yesterday in window.days and minute < window.end
    )
