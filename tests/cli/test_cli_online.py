"""Commands that talk to a service."""

import csv
import io
import json
import os
import stat
from pathlib import Path

import pytest
import yaml

from app.cli import images
from tests.cli.conftest import CommandLine
from tests.services.processes import free_port
from tests.services.running import Running, Source, replicated


def test_projects_in_every_format(go2cloud: CommandLine) -> None:
    go2cloud("project", "create", "shop", "--description", "the, web shop")
    table = go2cloud("project", "list").splitlines()
    assert table[0].split() == ["NAME", "DEDUP", "CREATED", "DESCRIPTION"]
    assert [line.split()[0] for line in table[1:]] == ["default", "shop"]
    assert go2cloud("project", "list", "-o", "wide").splitlines()[1].startswith("prj-")
    as_json = json.loads(go2cloud("project", "list", "-o", "json"))
    assert as_json == yaml.safe_load(go2cloud("project", "list", "-o", "yaml"))
    assert as_json[1]["dedupScope"] == "project"
    rows = list(csv.DictReader(io.StringIO(go2cloud("project", "list", "-o", "csv"))))
    assert rows[1]["description"] == "the, web shop"
    assert rows[1]["created"] == as_json[1]["createdAt"]
    assert go2cloud("project", "list", "-o", "name") == "default\nshop\n"
    assert json.loads(go2cloud("project", "show", "shop", "-o", "json")) == as_json[1]
    assert "the, web shop" in go2cloud("project", "show", as_json[1]["id"])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("project", "show", "nope"), 3, "there is no project 'nope'"),
        (("server", "show", "nope"), 3, "nope"),
        (("replica", "list", "nope"), 3, "nope"),
        (("project", "create", "default"), 1, "default"),
        (("project", "create", "Not A Name"), 2, "name: "),
        (("project",), 2, ""),
        (("project", "fly"), 2, "fly"),
        (("project", "list", "-o", "xml"), 2, "xml"),
        (("install-token", "create", "--expires-in", "soon"), 2, "soon"),
        (("token", "revoke", "tok-x"), 2, "--yes"),
        (("token", "revoke", "tok-x", "--yes"), 3, "tok-x"),
    ],
)
def test_exit_codes_and_messages(
    go2cloud: CommandLine, arguments: tuple[str, ...], code: int, says: str
) -> None:
    assert go2cloud(*arguments, code=code) == "" or code == 2
    assert says in go2cloud.notes


def test_a_token_that_does_not_count_is_denied(
    go2cloud: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO2CLOUD_TOKEN", "g2t_wrong")
    go2cloud("project", "list", code=4)


def test_a_service_that_is_away_is_a_failure(go2cloud: CommandLine) -> None:
    go2cloud("--url", f"http://127.0.0.1:{free_port()}", "project", "list", code=1)
    assert "cannot be reached" in go2cloud.notes


def test_without_a_service_the_way_in_is_named(stranger: CommandLine) -> None:
    stranger("project", "list", code=2)
    assert "go2cloud login" in stranger.notes


def test_logging_in_is_kept_for_the_owner_only(
    stranger: CommandLine, running: Running, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(running.password + "\n"))
    assert "admin (administrator)" in stranger("login", running.url, "--password-stdin")
    kept = home / ".config" / "go2cloud" / "credentials.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stranger("project", "list", "-o", "name") == "default\n"
    stranger("--url", "http://127.0.0.1:1", "project", "list", code=4)
    assert "no token for" in stranger.notes, "a kept token goes to its own service only"
    stranger("logout")
    assert not kept.exists()
    stranger("project", "list", code=2)


def test_a_wrong_password_keeps_nothing(
    stranger: CommandLine, running: Running, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    stranger("login", running.url, "--password-stdin", code=4)
    assert not (home / ".config" / "go2cloud" / "credentials.json").exists()


def test_an_api_token_is_kept_as_well(stranger: CommandLine, running: Running) -> None:
    stranger("--token", running.token, "login", running.url)
    assert stranger("project", "list", "-o", "name") == "default\n"


def test_a_secret_is_all_of_standard_output(go2cloud: CommandLine) -> None:
    secret = go2cloud("token", "create", "ci", "--role", "viewer", "--expires-in", "7d").strip()
    assert secret.startswith("g2t_")
    assert "this once" in go2cloud.notes
    listed = json.loads(go2cloud("token", "list", "-o", "json"))
    ci = next(token for token in listed if token["name"] == "ci")
    assert ci["secret"] is None
    assert secret not in go2cloud("token", "list", "-o", "wide")
    assert json.loads(go2cloud("token", "revoke", ci["id"], "--yes", "-o", "json"))["revokedAt"]
    go2cloud("--token", secret, "project", "list", code=4)


def test_install_tokens(go2cloud: CommandLine) -> None:
    made = json.loads(go2cloud("install-token", "create", "rack", "--uses", "5", "-o", "json"))
    assert made["secret"].startswith("g2i_")
    assert made["usesLeft"] == 5
    assert made["id"] in go2cloud("install-token", "list", "--project", "default")
    go2cloud("install-token", "revoke", made["id"], "--yes")


CONTENT = os.urandom(700_000 // 512 * 512) + bytes(1 << 20)


@pytest.fixture
def source(running: Running, tmp_path: Path) -> Source:
    return replicated(running, tmp_path, CONTENT)


def test_a_replica_from_list_to_proof(go2cloud: CommandLine, source: Source, tmp_path: Path) -> None:
    (server,) = json.loads(go2cloud("server", "list", "-o", "json"))
    assert server["id"] == source.server
    assert server["name"] in go2cloud("server", "list")
    assert "READY_FOR_TEST" in go2cloud("server", "show", server["name"])
    (checkpoint,) = json.loads(go2cloud("replica", "list", server["name"], "-o", "json"))
    output = tmp_path / "out.raw"
    said = go2cloud("replica", "export", server["name"], "--output", str(output), "--disk", str(source.disk))
    assert checkpoint["disks"][0]["root"] in said
    assert output.read_bytes() == CONTENT
    go2cloud("replica", "export", server["name"], "--output", str(output), code=1)
    assert "--force" in go2cloud.notes
    go2cloud("replica", "export", server["name"], "--output", str(output), "--force", "--checkpoint", "1")


def test_verification_says_how_it_knows(go2cloud: CommandLine, source: Source) -> None:
    said = go2cloud("replica", "verify", source.server, "--against", str(source.disk))
    (checkpoint,) = json.loads(go2cloud("replica", "list", source.server, "-o", "json"))
    root = checkpoint["disks"][0]["root"]
    assert said.count(root) == 4
    for words in (
        "computed by the agent",
        "at commit",
        "from the stored bytes",
        str(source.disk),
        "identical",
    ):
        assert words in said
    result = json.loads(go2cloud("replica", "verify", source.server, "-o", "json"))
    assert result["agrees"] is True


def test_a_source_that_changed_since_is_not_identical(go2cloud: CommandLine, source: Source) -> None:
    with source.disk.open("r+b") as disk:
        disk.write(b"changed")
    said = go2cloud("replica", "verify", source.server, "--against", str(source.disk), code=1)
    assert "NOT IDENTICAL" in said
    assert "changed since" in said


def test_a_damaged_store_is_found(go2cloud: CommandLine, source: Source, running: Running) -> None:
    (pack,) = [each for each in (running.settings.store.path / "packs").rglob("*") if each.is_file()]
    data = bytearray(pack.read_bytes())
    data[3000] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(data)
    said = go2cloud("replica", "verify", source.server, code=1)
    assert "NOT IDENTICAL" in said
    assert "missing or damaged" in said


@pytest.mark.parametrize(("disk", "code"), [("/dev/none", 3), ("", 3)])
def test_an_unknown_disk_is_named(go2cloud: CommandLine, source: Source, disk: str, code: int) -> None:
    go2cloud("replica", "export", source.server, "--output", "x", "--disk", disk, code=code)
    assert str(source.disk) in go2cloud.notes


def test_a_qcow2_holds_the_same_disk(go2cloud: CommandLine, source: Source, tmp_path: Path) -> None:
    output = tmp_path / "out.qcow2"
    arguments = ("replica", "export", source.server, "--output", str(output), "--format", "qcow2")
    go2cloud(*arguments)
    images._run(["qemu-img", "compare", "-f", "raw", "-F", "qcow2", str(source.disk), str(output)])
    go2cloud(*arguments, code=1)
    go2cloud(*arguments, "--force")
    assert {each.name for each in tmp_path.iterdir()} == {
        "service",
        "home",
        "agent",
        "source.img",
        "out.qcow2",
    }


def test_without_qemu_img_the_package_is_named(
    go2cloud: CommandLine, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    output = tmp_path / "out.qcow2"
    go2cloud("replica", "export", source.server, "--output", str(output), "--format", "qcow2", code=1)
    assert "apt-get install qemu-utils" in go2cloud.notes
    assert not output.exists()


OFFICE = "Mon-Fri 08:00-18:00 Europe/Berlin 5MiB"


def test_the_pace_of_a_project_is_set_shown_and_taken_away(go2cloud: CommandLine) -> None:
    go2cloud("project", "create", "shop")
    shown = go2cloud(
        "project",
        "update",
        "shop",
        "--rate",
        "20MiB",
        "--window",
        OFFICE,
        "--window",
        "Sat 00:00-24:00 UTC 0",
    )
    assert f"20MiB; {OFFICE}; Sat 00:00-24:00 UTC 0" in shown
    pace = json.loads(go2cloud("project", "show", "shop", "-o", "json"))["pace"]
    assert (pace["rate"], pace["windows"][0]["from"], pace["windows"][1]["rate"]) == (20 << 20, "08:00", 0)
    assert f"unlimited; {OFFICE}" in go2cloud("project", "update", "shop", "--window", OFFICE)
    assert "unlimited" in go2cloud("project", "update", "shop", "--rate", "unlimited", "--window", OFFICE)
    go2cloud("project", "update", "shop", "--no-pace")
    assert json.loads(go2cloud("project", "show", "shop", "-o", "json"))["pace"] is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rate", "fast"), "'fast' is no rate"),
        (("--window", "Mon-Fri 08:00-18:00 Mars/Base 5MiB"), "Mars/Base"),
        ((), "--no-pace"),
        (("--no-pace", "--rate", "5MiB"), "--no-pace"),
    ],
)
def test_a_pace_that_cannot_be_used_is_a_wrong_command_line(
    go2cloud: CommandLine, arguments: tuple[str, ...], says: str
) -> None:
    go2cloud("project", "update", "default", *arguments, code=2)
    assert says in go2cloud.notes
