"""Forecasts by hand: what converges, in how long, and how long a cutover would freeze the source."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.migration.replication.forecast import FREEZE_SECONDS, LONGEST, READ_RATE, Load, Verdict, forecast
from app.migration.replication.loads import Head, load_of
from app.wire.heartbeat import DiskStatus, Rates, Status

MB = 1_000_000
BUSY = Load(backlog=600 * MB, dirty=5 * MB, wire=20 * MB, read=200 * MB)


def seconds(value: timedelta | None) -> float:
    assert value is not None
    return value.total_seconds()


def test_a_backlog_is_worked_off_at_what_the_link_has_to_spare() -> None:
    found = forecast(BUSY)
    assert (found.verdict, found.converges) == (Verdict.CONVERGES, True)
    assert seconds(found.caught_up_in) == pytest.approx(600 / (20 - 5))
    left = 5 * MB / (1 - 5 / 20)
    assert seconds(found.freeze) == pytest.approx(FREEZE_SECONDS + left / (200 * MB), abs=0.001)
    assert found.explanation == "caught up in 40 s; cutover now would freeze 0.2 s"


def test_a_source_that_writes_faster_than_the_link_never_gets_there() -> None:
    found = forecast(replace(BUSY, dirty=25 * MB))
    assert (found.verdict, found.converges, found.caught_up_in) == (Verdict.LINK_TOO_SLOW, False, None)
    assert seconds(found.freeze) == pytest.approx(FREEZE_SECONDS + 600 / 200)
    assert found.explanation == (
        "23.8 MiB/s are written, and the link takes 19.1 MiB/s; cutover now would freeze 3.2 s"
    )


def test_exactly_as_fast_is_not_enough() -> None:
    assert forecast(replace(BUSY, dirty=20 * MB)).converges is False


def test_a_limit_below_the_writes_is_named() -> None:
    found = forecast(replace(BUSY, limit=4 * MB))
    assert found.verdict is Verdict.LINK_TOO_SLOW
    assert "the limit lets through 3.8 MiB/s" in found.explanation
    assert forecast(replace(BUSY, limit=1000 * MB)) == forecast(BUSY)
    assert forecast(replace(BUSY, wire=0, limit=4 * MB)).converges is False


def test_whole_chunks_that_must_be_read_for_scattered_writes_may_be_too_many() -> None:
    found = forecast(replace(BUSY, wire=50 * MB, amplification=64))
    assert (found.verdict, found.converges) == (Verdict.DISKS_TOO_SLOW, False)
    assert "the disks are read too slowly" in found.explanation


def test_whole_chunks_lengthen_the_freeze_only_where_they_are_too_many_to_be_read_ahead() -> None:
    one, eight = forecast(BUSY).freeze, forecast(replace(BUSY, amplification=8)).freeze
    assert eight == one
    left = 5 * MB / (1 - 5 / 10)  # the disks give 200 / 20 changed MB a second
    found = forecast(replace(BUSY, amplification=20)).freeze
    assert seconds(found) == pytest.approx(FREEZE_SECONDS + 20 * left / (200 * MB), abs=0.002)


def test_compression_lets_more_through() -> None:
    assert forecast(replace(BUSY, dirty=25 * MB, wire_cost=0.5)).converges is True


def test_a_link_that_keeps_up_is_not_taken_for_one_that_is_full() -> None:
    steady = Load(backlog=5 * MB, dirty=5 * MB, wire=5 * MB)
    assert forecast(steady).converges is False
    found = forecast(replace(steady, keeps_up=True))
    assert found.converges is True
    assert seconds(found.caught_up_in) == pytest.approx(1)
    assert forecast(replace(steady, keeps_up=True, limit=4 * MB)).converges is False
    assert forecast(replace(steady, keeps_up=True, amplification=64)).converges is True


def test_an_idle_source_is_in_sync() -> None:
    found = forecast(Load(backlog=0, dirty=0, wire=0))
    assert (found.verdict, found.converges, found.caught_up_in) == (Verdict.IN_SYNC, True, timedelta())
    assert seconds(found.freeze) == FREEZE_SECONDS


def test_of_a_link_that_nobody_used_nothing_is_said() -> None:
    found = forecast(Load(backlog=MB, dirty=0, wire=0))
    assert (found.verdict, found.converges, found.freeze) == (Verdict.UNKNOWN, None, None)


def test_before_the_first_checkpoint_there_is_no_forecast() -> None:
    found = forecast(replace(BUSY, is_first_copy=True))
    assert (found.verdict, found.converges) == (Verdict.FIRST_COPY, None)


def test_no_number_of_a_heartbeat_is_too_large() -> None:
    most = (1 << 63) - 1
    found = forecast(Load(backlog=most, dirty=most - 1, wire=most, read=1, amplification=64, wire_cost=0.01))
    assert found.freeze == LONGEST
    assert forecast(Load(backlog=most, dirty=0, wire=1)).caught_up_in == LONGEST


@pytest.mark.parametrize("dirty", [0, 1, MB, 19 * MB])
@pytest.mark.parametrize("backlog", [0, 1, 600 * MB])
def test_the_freeze_is_never_longer_than_reading_all_that_is_dirty(dirty: int, backlog: int) -> None:
    load = Load(backlog, dirty, wire=20 * MB)
    everything = FREEZE_SECONDS + (backlog + dirty) / READ_RATE
    assert seconds(forecast(load).freeze) <= everything + 0.001


def test_without_tracking_nothing_is_promised() -> None:
    found = forecast(replace(BUSY, is_tracked=False))
    assert (found.verdict, found.converges, found.freeze) == (Verdict.NOT_TRACKED, None, None)


@pytest.mark.parametrize(("trackers", "tracked"), [((), False), (("", "x"), False), (("x", "x"), True)])
def test_all_disks_must_be_tracked(trackers: tuple[str, ...], tracked: bool) -> None:
    disks = tuple(replace(status().disks[0], tracker=tracker) for tracker in trackers)
    assert load_of(status(disks=disks), None, None, keeps_up=False).is_tracked is tracked


def status(**changed: object) -> Status:
    disk = DiskStatus("sda", 100, 100, seen=100, sent=0, known=0, backlog=7 * MB, tracker="tracefs")
    whole = Status("catching-up", "2026-01-02T03:04:05+00:00", disks=(disk, disk), rates=Rates(dirty=MB))
    return replace(whole, **changed)  # type: ignore[arg-type]


def test_a_load_is_read_off_a_status() -> None:
    load = load_of(status(), None, None, keeps_up=False)
    assert (load.backlog, load.dirty, load.is_first_copy) == (14 * MB, MB, True)
    assert (load.amplification, load.wire_cost, load.freeze_overhead) == (1.0, 1.0, FREEZE_SECONDS)


@pytest.mark.parametrize(
    ("method", "counters", "amplification", "cost"),
    [
        ("rescan", {"read": 1000, "sent": 300, "wire": 100}, 1.0, 1 / 3),
        ("tracefs", {"read": 6400, "patched": 100, "wire": 100}, 64.0, 1.0),
        ("tracefs", {"read": 64000, "patched": 100, "wire": 100}, 64.0, 1.0),
        ("tracefs", {"read": 300, "sent": 300, "wire": 100}, 1.0, 1 / 3),
        ("tracefs", {"read": 300}, 1.0, 1.0),
        ("tracefs,rescan", {"read": 1000, "patched": 1, "wire": 1}, 1.0, 1.0),
    ],
)
def test_the_head_tells_what_a_change_costs(
    method: str, counters: dict[str, int], amplification: float, cost: float
) -> None:
    load = load_of(status(), Head(method, counters), 5, keeps_up=True)
    assert load.amplification == pytest.approx(amplification)
    assert load.wire_cost == pytest.approx(cost)
    assert (load.limit, load.keeps_up) == (5, True)


def test_the_newest_cut_tells_what_a_freeze_costs_besides_reading() -> None:
    rates = Rates(read=100 * MB)
    load = load_of(status(rates=rates, freeze_ms=500, reread_bytes=10 * MB), None, None, keeps_up=False)
    assert load.freeze_overhead == pytest.approx(0.4)
    load = load_of(status(rates=rates, freeze_ms=10, reread_bytes=90 * MB), None, None, keeps_up=False)
    assert load.freeze_overhead == 0.05
