"""The pace that an operator sets holds for a real agent on a real service, and changes while a copy runs."""

import os
import time
from pathlib import Path

import pytest

from app.kit.ratewindows import RateCalendar, parsed_windows
from tests.e2e.deployment import Deployment, embedded, until
from tests.e2e.paces import set_pace
from tests.e2e.source_host import SourceHost, summary_of

pytestmark = pytest.mark.slow

KIB, MIB = 1 << 10, 1 << 20


def host_with_disk(deployment: Deployment, folder: Path, size: int) -> SourceHost:
    disk = folder / "disk.img"
    disk.write_bytes(os.urandom(size))
    host = SourceHost(folder / "agent")
    host.enroll(deployment, disk)
    return host


def test_a_copy_takes_as_long_as_its_pace_demands(embedded_deployment: Deployment, tmp_path: Path) -> None:
    set_pace(embedded_deployment, RateCalendar(MIB))
    host = host_with_disk(embedded_deployment, tmp_path, 6 * MIB)
    began = time.monotonic()
    host.sync()
    assert time.monotonic() - began >= 6 * 0.7


def test_a_copy_at_a_crawl_ends_when_its_pace_is_raised_while_it_runs(
    embedded_deployment: Deployment, tmp_path: Path
) -> None:
    """64 MiB at 64 KiB a second would take a quarter of an hour."""
    set_pace(embedded_deployment, RateCalendar(64 * KIB))
    host = host_with_disk(embedded_deployment, tmp_path, 64 * MIB)
    with host.running("--once") as agent:
        time.sleep(8)
        assert agent.poll() is None
        stored = sum(
            file.stat().st_size
            for file in (embedded_deployment.folder / "store").rglob("*")
            if file.is_file()
        )
        assert stored < 8 * MIB
        set_pace(embedded_deployment, None)
        output, _ = agent.communicate(timeout=120)
        assert agent.returncode == 0, output
    assert summary_of(output)["number"] == 1


def test_in_a_window_of_rate_zero_nothing_is_sent_and_the_copy_goes_on_after_it(
    embedded_deployment: Deployment, tmp_path: Path
) -> None:
    always = "daily 00:00-24:00 Europe/Berlin 0"
    set_pace(embedded_deployment, RateCalendar(None, parsed_windows(always)))
    host = host_with_disk(embedded_deployment, tmp_path, 4 * MIB)
    with host.running("--once") as agent:
        time.sleep(5)
        assert agent.poll() is None
        set_pace(embedded_deployment, RateCalendar(None, parsed_windows("daily 00:00-24:00 UTC unlimited")))
        output, _ = agent.communicate(timeout=120)
        assert agent.returncode == 0, output


def test_the_pace_of_the_fleet_changes_with_the_settings_file_and_without_a_restart(tmp_path: Path) -> None:
    folder, config = tmp_path / "service", tmp_path / "config.yaml"
    folder.mkdir()
    config.write_text("PACE:\n  RATE: 0\n")
    with embedded(folder, GO2CLOUD_CONFIG=str(config)) as deployment:
        host = host_with_disk(deployment, tmp_path, 4 * MIB)
        with host.running("--once") as agent:
            time.sleep(4)
            assert agent.poll() is None
            config.write_text("PACE: 'open\n")
            log = folder / "all.log"
            until(lambda: "settings.refused" in log.read_text(), 30, "the broken file is refused")
            assert agent.poll() is None
            config.write_text("PACE:\n  WINDOWS: Mon 08:00-18:00 Asia/Tokyo unlimited\n")
            output, _ = agent.communicate(timeout=120)
            assert agent.returncode == 0, output
        assert "settings.reloaded" in log.read_text()
