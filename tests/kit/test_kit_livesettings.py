"""Settings that change while the process runs: what is taken over, what is refused, what needs a restart."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from app.kit import livesettings
from app.kit.livesettings import LiveSettings
from app.kit.settings import LogLevel, load_settings


class ConfigMap:
    """A folder as Kubernetes mounts it: config.yaml → ..data/config.yaml, ..data → its version."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.yaml"
        self._version = 0
        self.write("")
        self.file.symlink_to("..data/config.yaml")

    def write(self, text: str) -> None:
        self._version += 1
        version = self.folder / f"..version-{self._version}"
        version.mkdir()
        (version / "config.yaml").write_text(text)
        os.utime(version / "config.yaml", (0, 0))
        fresh = self.folder / "..data_tmp"
        fresh.symlink_to(version.name)
        fresh.rename(self.folder / "..data")


@pytest.fixture
def mounted(tmp_path: Path) -> ConfigMap:
    folder = tmp_path / "mounted"
    folder.mkdir()
    return ConfigMap(folder)


@pytest.fixture
def live(mounted: ConfigMap, tmp_path: Path) -> LiveSettings:
    environ = {"HOME": str(tmp_path), "GO2CLOUD_CONFIG": str(mounted.file)}
    return LiveSettings(load_settings(environ), lambda: load_settings(environ))


def looked(live: LiveSettings) -> list[tuple[str, object]]:
    """What the log says of a look: events with their reason or sections."""
    with capture_logs() as logs:
        live.look()
    return [(entry["event"], entry.get("sections") or entry.get("reason")) for entry in logs]


def test_a_swap_of_the_mounted_folder_is_noticed_and_the_pace_taken_over(
    live: LiveSettings, mounted: ConfigMap
) -> None:
    assert looked(live) == []
    mounted.write("PACE:\n  RATE: 5MiB\n")
    assert looked(live) == [("settings.reloaded", ["pace"])]
    assert live.current.pace.calendar.rate == 5 << 20
    assert looked(live) == []
    mounted.write("")
    assert looked(live) == [("settings.reloaded", ["pace"])]
    assert live.current.pace.calendar.is_unlimited


@pytest.mark.parametrize(
    ("text", "says"),
    [("PACE: 'open\n", "not valid YAML"), ("PACE:\n  RATE: x\n", "PACE.RATE"), ("PAICE: 1\n", "PAICE")],
)
def test_a_file_that_cannot_be_used_is_refused_once_and_what_holds_goes_on(
    live: LiveSettings, mounted: ConfigMap, text: str, says: str
) -> None:
    mounted.write("PACE:\n  RATE: 7\n")
    live.look()
    mounted.write(text)
    ((event, reason),) = looked(live)
    assert event == "settings.refused"
    assert says in str(reason)
    assert looked(live) == []
    assert live.current.pace.calendar.rate == 7
    assert REGISTRY.get_sample_value("go2cloud_settings_refused") == 1
    mounted.write("PACE:\n  RATE: 8\n")
    assert looked(live) == [("settings.reloaded", ["pace"])]
    assert REGISTRY.get_sample_value("go2cloud_settings_refused") == 0


def test_of_what_does_not_reload_the_log_says_that_a_restart_is_needed(
    live: LiveSettings, mounted: ConfigMap
) -> None:
    before = live.current
    mounted.write("LOG_FORMAT: console\nDB_NAME: other\nPACE:\n  RATE: 9\n")
    assert looked(live) == [
        ("settings.reloaded", ["pace"]),
        ("settings.restart_needed", ["database", "log"]),
    ]
    assert (live.current.log, live.current.database) == (before.log, before.database)
    assert REGISTRY.get_sample_value("go2cloud_settings_restart_needed") == 1
    assert looked(live) == []


def test_a_file_that_is_away_for_a_moment_changes_nothing(live: LiveSettings, mounted: ConfigMap) -> None:
    mounted.write("PACE:\n  RATE: 7\n")
    live.look()
    (mounted.folder / "..data").unlink()
    assert looked(live) == []
    assert live.current.pace.calendar.rate == 7


async def test_the_file_is_followed_for_as_long_as_the_process_lives(
    live: LiveSettings, mounted: ConfigMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livesettings, "LOOK_SECONDS", 0.01)
    following = asyncio.create_task(live.follow())
    mounted.write("PACE:\n  RATE: 3\n")
    async with asyncio.timeout(30):
        while live.current.pace.calendar.rate != 3:  # noqa: ASYNC110  (the change has no event to wait for)
            await asyncio.sleep(0.01)
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_without_a_file_there_is_nothing_to_follow(tmp_path: Path) -> None:
    live = LiveSettings(load_settings({"HOME": str(tmp_path)}))
    assert live.current.file is None
    await live.follow()


@pytest.fixture
def level() -> Iterator[Callable[[], int]]:
    """The level of the log as it is; put back afterwards."""
    root = logging.getLogger()
    before = root.level
    yield lambda: root.level
    root.setLevel(before)


def test_the_level_of_the_log_follows_its_file(
    live: LiveSettings, mounted: ConfigMap, level: Callable[[], int]
) -> None:
    mounted.write("LOG_LEVEL: ERROR\n")
    assert looked(live) == [("settings.reloaded", ["log level"])]
    assert level() == logging.ERROR
    assert live.current.log.level is LogLevel.ERROR
    mounted.write("LOG_LEVEL: DEBUG\nLOG_FORMAT: console\n")
    assert looked(live) == [("settings.reloaded", ["log level"]), ("settings.restart_needed", ["log"])]
    assert level() == logging.DEBUG


def test_limits_follow_the_file(live: LiveSettings, mounted: ConfigMap) -> None:
    mounted.write("LIMITS:\n  PAGE_SIZE_MAX: 7\n")
    assert looked(live) == [("settings.reloaded", ["limits"])]
    assert live.current.limits.page_size_max == 7


def test_a_process_that_does_not_ask_for_a_field_anew_says_that_it_needs_a_restart(
    mounted: ConfigMap, tmp_path: Path
) -> None:
    environ = {"HOME": str(tmp_path), "GO2CLOUD_CONFIG": str(mounted.file)}
    live = LiveSettings(load_settings(environ), lambda: load_settings(environ), frozenset())
    mounted.write("LIMITS:\n  PAGE_SIZE_MAX: 7\n")
    assert looked(live) == [("settings.restart_needed", ["limits"])]
    assert live.current.limits.page_size_max == 500
