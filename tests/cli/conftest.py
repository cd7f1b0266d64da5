"""A service to talk to, and the command line in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.cli.command import run
from tests.services.running import Running, running

__all__ = ["running"]

Command = Callable[..., str]


class CommandLine:
    """Runs commands as a user with a home of their own."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Nothing is kept yet."""
        self._capsys = capsys
        self.notes = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output of a command that ends with `code`; standard error is in `notes`."""
        self._capsys.readouterr()
        ended = run(arguments)
        output, self.notes = self._capsys.readouterr()
        assert ended == code, f"{arguments} ended with {ended}:\n{output}\n{self.notes}"
        return output


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in ("GO2CLOUD_URL", "GO2CLOUD_TOKEN", "XDG_CONFIG_HOME", "GO2CLOUD_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture
def stranger(home: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """Somebody who is not logged in."""
    assert home
    return CommandLine(capsys)


@pytest.fixture
def go2cloud(stranger: CommandLine, running: Running, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """An administrator."""
    monkeypatch.setenv("GO2CLOUD_URL", running.url)
    monkeypatch.setenv("GO2CLOUD_TOKEN", running.token)
    return stranger
