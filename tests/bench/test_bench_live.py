"""What the bench makes of its measurements of a running host, and what it is told to measure."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.freespace import joined
from bench.live.lag import Copy, lags
from bench.live.report import live_tables
from bench.live.results import Delta, Steady
from bench.measuring import Measured
from bench.plan import MB

TOOK = Measured(wall=10.0, cpu_source=1.0, cpu_target=2.0, wire=30 * MB, peak_source=0, peak_target=0)


def test_the_lag_grows_until_a_newer_copy_is_there() -> None:
    copies = [Copy(of=0.0, done=2.0), Copy(of=5.0, done=6.0)]
    assert list(lags(copies, 4.0, 7.0, step=1.0)) == [4.0, 5.0, 1.0, 2.0]


def test_before_the_first_copy_there_is_no_lag_to_tell() -> None:
    assert list(lags([Copy(of=0.0, done=2.0)], 0.0, 2.0, step=1.0)) == [2.0]
    assert list(lags([], 0.0, 2.0)) == []


def test_a_copy_that_was_slower_than_a_newer_one_does_not_make_the_lag_grow() -> None:
    assert list(lags([Copy(of=5.0, done=6.0), Copy(of=0.0, done=7.0)], 7.0, 7.0)) == [2.0]


def test_ranges_that_touch_cover_a_block_across_them() -> None:
    assert joined([(4096, 8192), (0, 4096)]).covers(0, 8192)


def _delta(peer: str, wall: float) -> Delta:
    return Delta(
        peer, 0.01, 10 * MB, wall + 1 if peer == "go2cloud" else None, Measured(wall, 1.0, 1.0, 30 * MB, 0, 0)
    )


def test_a_delta_is_told_as_medians_and_as_a_multiple_of_ours() -> None:
    runs = [_delta("go2cloud", 1.0), _delta("go2cloud", 9.0), _delta("go2cloud", 2.0), _delta("rsync", 20.0)]
    title, _, ours, theirs = live_tables(runs).splitlines()
    assert title.startswith("delta of 1.0%")
    assert ours.split() == ["go2cloud", "2.00", "1.0", "2.00", "30.0", "3.00", "3.00"]
    assert theirs.split() == ["rsync", "20.00", "10.0", "2.00", "30.0", "3.00", "—"]


def test_a_steady_state_in_which_no_copy_was_made_is_no_division_by_zero() -> None:
    text = live_tables([Steady("go2cloud", 5 * MB, 0, (), (), (), 0, (), TOOK)])
    assert text.splitlines()[-1].split()[:6] == ["go2cloud", "0.0", "—", "—", "0", "—"]
    assert "10.0%" in text
    assert "20.0%" in text


@pytest.mark.parametrize("case", ["full", "steady"])
def test_a_case_of_either_kind_may_be_asked_for(case: str) -> None:
    asked = _bench("--cases", case, "--packages", "--peers", "go2cloud")
    assert asked.returncode == 0, asked.stderr


def test_a_case_that_does_not_exist_is_refused() -> None:
    asked = _bench("--cases", "steady,nothing", "--packages")
    assert asked.returncode == 2
    assert "invalid" in asked.stderr


def _bench(*options: str) -> "subprocess.CompletedProcess[str]":
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "bench", *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)
