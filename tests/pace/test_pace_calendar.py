"""Which rate holds when: days, midnight, summer time, zones, and the texts that people write."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.contract.resources.pace import Pace, PaceInput
from app.kit.ratewindows import (
    WEEK,
    RateCalendar,
    RateWindow,
    Weekday,
    days_text,
    parsed_days,
    parsed_rate,
    parsed_window,
    parsed_windows,
    rate_text,
)
from app.migration.pace.calendar import rate_at

MIB = 1 << 20
OFFICE = "Mon-Fri 08:00-18:00 Europe/Berlin 5MiB"
NIGHT = "Fri 22:00-06:00 UTC 0"


def calendar(*windows: str, rate: int | None = None) -> RateCalendar:
    return RateCalendar(rate, parsed_windows("\n".join(windows)))


def at(text: str, zone: str = "UTC") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("time", "rate"),
    [
        ("2026-01-05 07:59:59", None),
        ("2026-01-05 08:00", 5 * MIB),
        ("2026-01-09 17:59:59", 5 * MIB),
        ("2026-01-09 18:00", None),
        ("2026-01-10 12:00", None),
    ],
)
def test_a_window_holds_from_its_start_until_before_its_end_on_its_days(time: str, rate: int | None) -> None:
    assert rate_at(calendar(OFFICE), at(time, "Europe/Berlin")) == rate


@pytest.mark.parametrize(
    ("time", "rate"),
    [
        ("2026-01-09 21:59", None),  # Friday
        ("2026-01-09 22:00", 0),
        ("2026-01-10 05:59", 0),
        ("2026-01-10 06:00", None),
        ("2026-01-10 22:00", None),
        ("2026-01-09 05:00", None),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(time: str, rate: int | None) -> None:
    assert rate_at(calendar(NIGHT), at(time)) == rate


def test_sunday_night_reaches_into_monday() -> None:
    window = calendar("Sun 23:00-01:00 UTC 7")
    assert rate_at(window, at("2026-01-12 00:30")) == 7
    assert rate_at(window, at("2026-01-11 00:30")) is None


def test_until_midnight_may_be_written_in_two_ways_and_means_one_thing() -> None:
    for end in ("24:00", "00:00"):
        window = calendar(f"Mon 18:00-{end} UTC 7")
        assert rate_at(window, at("2026-01-05 23:59")) == 7
        assert rate_at(window, at("2026-01-06 00:00")) is None


def test_the_same_moment_lies_in_the_windows_of_some_zones_only() -> None:
    moment = datetime(2026, 1, 5, 22, 30, tzinfo=UTC)
    assert rate_at(calendar("Tue 07:00-08:00 Asia/Tokyo 1"), moment) == 1
    assert rate_at(calendar("Mon 14:00-15:00 America/Los_Angeles 1"), moment) == 1
    assert rate_at(calendar("Mon 07:00-08:00 Asia/Tokyo 1"), moment) is None


def test_a_window_follows_the_wall_clock_through_summer_time() -> None:
    """In Berlin clocks leap from 02:00 to 03:00 on 29 March 2026."""
    window = calendar("daily 08:00-09:00 Europe/Berlin 1")
    assert rate_at(window, datetime(2026, 3, 28, 7, 30, tzinfo=UTC)) == 1
    assert rate_at(window, datetime(2026, 3, 29, 7, 30, tzinfo=UTC)) is None
    assert rate_at(window, datetime(2026, 3, 29, 6, 30, tzinfo=UTC)) == 1


def test_a_window_that_begins_in_the_hour_left_out_begins_with_the_leap() -> None:
    window = calendar("Sun 02:30-04:00 Europe/Berlin 1")
    assert rate_at(window, datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)) is None
    assert rate_at(window, datetime(2026, 3, 29, 1, 0, tzinfo=UTC)) == 1
    assert rate_at(window, datetime(2026, 3, 29, 2, 0, tzinfo=UTC)) is None


def test_a_window_in_the_hour_left_out_is_not_entered_that_day() -> None:
    window = calendar("Sun 02:00-03:00 Europe/Berlin 1")
    for minute in range(0, 24 * 60, 10):
        assert rate_at(window, datetime(2026, 3, 29, minute // 60, minute % 60, tzinfo=UTC)) is None


def test_a_window_in_the_hour_that_comes_twice_holds_both_times() -> None:
    """In Berlin clocks go back from 03:00 to 02:00 on 25 October 2026."""
    window = calendar("Sun 02:00-03:00 Europe/Berlin 1")
    holding = [hour for hour in range(5) if rate_at(window, datetime(2026, 10, 25, hour, 30, tzinfo=UTC))]
    assert holding == [0, 1]


def test_the_first_window_that_fits_wins_and_else_the_rate_of_the_calendar() -> None:
    both = calendar("Mon 10:00-11:00 UTC unlimited", "Mon 08:00-18:00 UTC 3", rate=9)
    assert rate_at(both, at("2026-01-05 10:30")) is None
    assert rate_at(both, at("2026-01-05 09:30")) == 3
    assert rate_at(both, at("2026-01-05 19:30")) == 9


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "Mon-Fri 08:00-18:00 Europe/Berln 5MiB",
            ["Mon-Fri 08:00-18:00 Europe/Berln", "Europe/Berlin or UTC"],
        ),
        ("Mon 08:00-18:00 ../../etc/passwd 5MiB", ["../../etc/passwd", "Europe/Berlin"]),
        ("Mon 08:00-18:00 Europe 5MiB", ["'Europe'", "not known"]),
        ("Mon 08:00-08:00 UTC 5MiB", ["Mon 08:00-08:00 UTC", "00:00-24:00"]),
        ("Mon 8-18 UTC 5MiB", ["Mon 8-18 UTC 5MiB", "'8' is no time"]),
        ("Mon 24:00-08:00 UTC 5MiB", ["24:00-08:00", "write times"]),
        ("Mon 08:00-18:00 UTC fast", ["'fast' is no rate", "5MiB"]),
        ("Mon 08:00-18:00 UTC -5", ["'-5' is no rate"]),
        ("Monday 08:00-18:00 UTC 5MiB", ["'Monday' is not one of Mon, Tue"]),
        (", 08:00-18:00 UTC 5MiB", ["'' is not one of"]),
        ("08:00-18:00 UTC 5MiB", ["four words", "write it like"]),
    ],
)
def test_a_window_that_cannot_be_used_is_named_with_its_remedy(text: str, says: list[str]) -> None:
    with pytest.raises(ValueError, match="the window") as refusal:
        parsed_window(text)
    assert all(part in str(refusal.value) for part in says), refusal.value


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ({"days": []}, "has no days; name at least one"),
        ({"zone": "Mars/Base"}, "Mars/Base"),
        ({"from": "18:00"}, "begins and ends at the same time"),
        ({"from": "8:00"}, "windows.0.from"),
        ({"to": "25:00"}, "windows.0.to"),
        ({"days": ["Someday"]}, "windows.0.days"),
        ({"rate": -1}, "windows.0.rate"),
        ({"until": "never"}, "windows.0.until"),
    ],
)
def test_a_window_of_the_api_that_cannot_be_used_is_refused_by_name(
    window: dict[str, object], says: str
) -> None:
    good = {"days": ["Mon"], "from": "08:00", "to": "18:00", "zone": "UTC", "rate": 5}
    assert PaceInput.model_validate({"windows": [good]}).calendar().windows[0].rate == 5
    with pytest.raises(ValueError, match=says):
        PaceInput.model_validate({"windows": [good | window]})


def test_what_a_newer_service_says_of_a_pace_can_be_read() -> None:
    good = {"days": ["Mon"], "from": "08:00", "to": "18:00", "zone": "UTC", "rate": 5, "mood": "fine"}
    assert Pace.model_validate({"rate": None, "burst": 7, "windows": [good]}).windows[0].rate == 5


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("Mon-Fri", WEEK[:5]),
        ("Fri-Mon", (Weekday.MON, Weekday.FRI, Weekday.SAT, Weekday.SUN)),
        ("sat,SUN", WEEK[5:]),
        ("Daily", WEEK),
        ("Wed", (Weekday.WED,)),
        ("Sun-Sun", (Weekday.SUN,)),
    ],
)
def test_days_are_written_as_people_do(text: str, days: tuple[Weekday, ...]) -> None:
    assert parsed_days(text) == days


@pytest.mark.parametrize(
    ("text", "rate"),
    [("5MiB", 5 * MIB), ("5MiB/s", 5 * MIB), ("1.5KiB", 1536), ("1MB", 10**6), ("0", 0), ("Unlimited", None)],
)
def test_rates_are_written_as_people_do(text: str, rate: int | None) -> None:
    assert parsed_rate(text) == rate


WINDOWS = st.builds(
    lambda days, start, length, zone, rate: RateWindow(
        tuple(day for day in WEEK if day in days), start, (start + length) % 1440, zone, rate
    ),
    st.sets(st.sampled_from(WEEK), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe"]),
    st.none() | st.integers(0, 1 << 40),
)


@given(WINDOWS)
def test_a_window_survives_being_written_down(window: RateWindow) -> None:
    assert parsed_window(str(window)) == window
    assert parsed_days(days_text(window.days)) == window.days
    assert parsed_rate(rate_text(window.rate)) == window.rate
    given_ = PaceInput.of(RateCalendar(None, (window,)))
    kept = Pace.model_validate(given_.model_dump(mode="json", by_alias=True))
    assert kept.calendar() == RateCalendar(None, (window,))


@settings(max_examples=20)
@given(WINDOWS)
def test_a_window_holds_as_long_as_it_is_wide(window: RateWindow) -> None:
    """Counted minute by minute over a week without a change of clocks."""
    single = RateCalendar(1, (RateWindow(window.days, window.start, window.end, "UTC", 0),))
    width = (window.end - window.start) % 1440 or 1440
    start = datetime(2026, 1, 5, tzinfo=UTC)
    minutes = sum(
        rate_at(single, start.replace(day=5 + at // 1440, hour=at // 60 % 24, minute=at % 60)) == 0
        for at in range(7 * 1440)
    )
    assert minutes == width * len(window.days)
