"""Commands on the installation itself."""

import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.nouns import NOUNS
from tests.cli.conftest import CommandLine
from tests.services.running import Running


@pytest.fixture
def installation(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = home / "data"
    monkeypatch.setenv("G2C_DATA_DIR", str(folder))
    monkeypatch.setenv("G2C_STORE__RESERVE_BYTES", "0")
    return folder


def test_the_first_administrator_is_made_on_an_empty_installation(
    stranger: CommandLine, installation: Path
) -> None:
    password = stranger("admin", "create", "ada").strip()
    assert len(password) >= 16
    assert (installation / "go2cloud.db").exists()
    stranger("admin", "create", "ada", code=1)
    assert "reset-password" in stranger.notes
    assert stranger("admin", "reset-password", "ada").strip() != password
    stranger("admin", "reset-password", "bob", code=3)


def test_the_schema_goes_up_and_down(stranger: CommandLine, installation: Path) -> None:
    assert installation
    stranger("db", "current", code=1)
    version = stranger("db", "upgrade").strip()
    assert stranger("db", "current").strip() == version
    stranger("db", "downgrade", "base", code=2)
    assert stranger("db", "downgrade", "base", "--yes").strip() == "empty"


def test_an_empty_store_is_whole(stranger: CommandLine, installation: Path) -> None:
    assert installation
    stranger("db", "upgrade")
    assert "0 findings" in stranger("store", "check", "--read-data", "--subset", "1/1")
    stranger("store", "gc", code=2)
    stranger("store", "gc", "--yes")
    for part in ("0/3", "4/3", "x", "1"):
        stranger("store", "check", "--subset", part, code=2)


def test_a_running_service_is_left_alone(
    stranger: CommandLine, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("G2C_DATA_DIR", str(running.settings.data_dir))
    for command in (("store", "check"), ("admin", "create", "x"), ("store", "gc", "--yes")):
        stranger(*command, code=1)
        assert "stop the go2cloud service" in stranger.notes


def test_a_wrong_role_and_a_wrong_setting_are_named(
    stranger: CommandLine, tmp_path: Path, home: Path
) -> None:
    assert home
    stranger("serve", "--role", "king", code=2)
    assert "king" in stranger.notes
    config = tmp_path / "config.yaml"
    config.write_text("DB_ENGIN: sqlite\n")
    stranger("db", "current", "--config", str(config), code=1)
    assert "DB_ENGIN" in stranger.notes


def test_the_agent_is_reached_with_its_own_options(home: Path) -> None:
    assert home
    command = [sys.executable, "-m", "app", "agent", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "enroll" in done.stdout


def test_talking_to_a_service_loads_no_tier(home: Path) -> None:
    assert home
    check = (
        "import sys; from app.cli.command import run; run(['--help']); "
        "print([name for name in sys.modules if name.startswith(('app.api', 'app.migration', 'app.platform', "
        "'app.agent', 'sqlalchemy', 'fastapi'))], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_a_command_loads_its_own_noun_and_no_other(home: Path) -> None:
    assert home
    check = (
        "import sys; from app.cli.command import run; "
        "run(['--url', 'http://127.0.0.1:9', '--token=x', 'replica', 'list', '--help']); "
        "print([name for name in ('replicas', 'preflights', 'offline', 'tokens', 'demo.command') "
        "if 'app.cli.' + name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "SERVER" in done.stdout
    assert done.stderr.strip().splitlines()[-1] == "['replicas']"


def test_help_and_a_wrong_noun_know_all_nouns(stranger: CommandLine) -> None:
    shown = stranger("--help")
    assert all(f" {noun} " in shown for noun in NOUNS if noun != "openapi")
    stranger("replcia", code=2)
    assert "replica" in stranger.notes
