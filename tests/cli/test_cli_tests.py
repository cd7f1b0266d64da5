"""`go2cloud server launch-settings`, `test` and what belongs to it, against a service that runs the jobs."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from app.kit.clock import SystemClock
from app.migration.launch.targets import target_of
from tests.cli.conftest import CommandLine
from tests.launch.boot_sector import dead_disk, talking_disk
from tests.launch.conftest import end_all
from tests.services.running import Running, Source, replicated

SMALL = ("--cpus", "1", "--memory", "64MiB", "--firmware", "bios", "--nic", "52:54:00:12:34:56")


@pytest.fixture
def machines(running: Running) -> Iterator[None]:
    yield
    end_all(target_of(running.settings.launch, SystemClock()))


@pytest.fixture
def source(running: Running, tmp_path: Path, machines: None) -> Source:
    return replicated(running, tmp_path, talking_disk())


def test_launch_settings_are_shown_and_changed(go2cloud: CommandLine, source: Source) -> None:
    settings = ("server", "launch-settings", source.server)
    assert "SET HERE:   -" in go2cloud(*settings)
    go2cloud(*settings, "--port", "8080", "--http", "8080/health=ok|fine", "--https", "443", "--tcp", "22")
    found = json.loads(go2cloud(*settings, "--timeout", "5m", "-o", "json"))
    assert (found["version"], found["settings"]["timeout"]) == (2, "PT5M")
    assert found["machine"]["ports"] == [22, 443, 8080]
    checks = {check["name"]: check for check in found["machine"]["checks"]}
    assert sorted(checks) == ["http", "https", "login", "tcp-22"]
    assert (checks["http"]["path"], checks["http"]["body"]) == ("/health", "ok|fine")
    assert checks["https"]["tls"] is True
    changed = go2cloud(*settings, "--nic", "52:54:00:12:34:56=192.168.7.2/24,192.168.7.1")
    assert "52:54:00:12:34:56=192.168.7.2/24,192.168.7.1" in changed
    assert "http 8080/health=ok|fine" in changed
    reset = yaml.safe_load(
        go2cloud(*settings, "--reset", "--no-login", "--tcp", "22", "--screen", "-o", "yaml")
    )
    assert [check["kind"] for check in reset["machine"]["checks"]] == ["tcp", "screen"]
    assert "is no such check" in _usage(go2cloud, *settings, "--http", "web")
    assert "is no size" in _usage(go2cloud, *settings, "--memory", "much")


def test_addresses_and_cloud_init_are_set_and_user_data_is_not_shown(
    go2cloud: CommandLine, source: Source, tmp_path: Path
) -> None:
    settings = ("server", "launch-settings", source.server)
    assert "ADDRESSES:  kept" in go2cloud(*settings)
    data = tmp_path / "user-data"
    data.write_text("#cloud-config\npassword: s3cret\n")
    assert "s3cret" not in go2cloud(*settings, "--user-data", str(data), "-o", "json")
    found = json.loads(go2cloud(*settings, "--cpus", "1", "--cloud-init", "nocloud", "-o", "json"))
    assert found["machine"]["cloudInit"]["mode"] == "nocloud"
    assert "CLOUD-INIT: disable" in go2cloud(*settings, "--cloud-init", "disable")
    assert "needs the user-data" in _usage(go2cloud, *settings, "--cloud-init", "nocloud")
    assert "cannot be read as text" in _usage(go2cloud, *settings, "--user-data", "/none")
    assert "says no addresses" in _usage(go2cloud, *settings, "--address", "eth0")
    assert "addresses.0: Value error" in _usage(go2cloud, *settings, "--address", "eth0=10.0.0.5")
    go2cloud(*settings, "--address", "eth99=10.0.0.5/24 via 10.0.0.1 dns 10.0.0.2,10.0.0.3", code=1)
    assert "the source has no network card 'eth99'" in go2cloud.notes
    assert "try: name one of those that its agent reported" in go2cloud.notes


def _usage(go2cloud: CommandLine, *arguments: str) -> str:
    go2cloud(*arguments, code=2)
    return " ".join(go2cloud.notes.split())


@pytest.mark.slow
def test_a_server_is_tested_to_the_proof_and_marked_ready(
    go2cloud: CommandLine, source: Source, tmp_path: Path
) -> None:
    server = source.server
    go2cloud("server", "launch-settings", server, *SMALL, "--conversion", "off")
    assert "server.test" in go2cloud("server", "test", server, "--watch")
    assert "check login passed" in go2cloud.notes
    assert "go2cloud server screenshot" in go2cloud.notes
    (test,) = json.loads(go2cloud("server", "tests", server, "-o", "json"))
    assert (test["state"], test["passed"]) == ("RUNNING", True)
    assert go2cloud("server", "tests", server, "-o", "name") == f"{test['id']}\n"
    assert "login ok" in go2cloud("server", "tests", server, "-o", "wide")
    picture = tmp_path / "proof.png"
    assert go2cloud("server", "screenshot", server, "-f", str(picture)) == f"{picture}\n"
    assert picture.read_bytes().startswith(b"\x89PNG")
    go2cloud("server", "screenshot", server, "-f", str(tmp_path / "small.png"), "--thumbnail")
    assert "smallest login:" in go2cloud("server", "serial", server)
    assert "nothing was changed\nwarning: the launch settings" in go2cloud("server", "conversion", server)
    assert "0 changes, 1 warning" in go2cloud("server", "tests", server, "-o", "wide")
    assert "READY_FOR_CUTOVER" in go2cloud("server", "mark-ready", server)
    assert "server.terminate-test" in go2cloud("server", "revert", server, "--watch")
    assert "READY_FOR_TEST" in go2cloud("server", "show", server)
    go2cloud("server", "terminate-test", server, code=1)
    assert "has no test machine" in go2cloud.notes


@pytest.mark.slow
def test_a_failed_boot_is_exit_1_and_ready_needs_a_reason(
    go2cloud: CommandLine, running: Running, tmp_path: Path, machines: None
) -> None:
    server = replicated(running, tmp_path, dead_disk()).server
    go2cloud("server", "launch-settings", server, *SMALL, "--conversion", "off")
    go2cloud("server", "test", server, "--checkpoint", "1", "--watch", code=1)
    assert "checkpoint 1 did not boot" in go2cloud.notes
    assert "try: compare the firmware" in go2cloud.notes
    assert "NO_BOOTABLE_DEVICE" in go2cloud("server", "tests", server)
    go2cloud("server", "mark-ready", server, code=1)
    assert "did not pass its newest test" in go2cloud.notes
    assert "READY_FOR_CUTOVER" in go2cloud("server", "mark-ready", server, "--override", "seen by ann")
    go2cloud("server", "screenshot", server, "-f", str(tmp_path / "no.png"), "--test", "tst-unknown", code=3)
