"""The demo ends well where it cannot go on to a test boot, and says why in a line."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from app.cli.demo import boot, tiny_disk
from app.cli.demo.service import DemoService
from app.client.transport import Client


@pytest.mark.parametrize(
    ("module", "name", "why"),
    [
        (boot, "QEMU", "no-such-thing is not installed (apt-get install"),
        (tiny_disk, "KERNEL_PACKAGE", "apt knows no no-such-thing (apt-get update)"),
    ],
)
def test_what_is_lacking_is_named(
    module: object, name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, "no-such-thing")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tiny_disk, "_run", _silent)
    said = io.StringIO()
    with Client("http://127.0.0.1:9") as nobody:
        boot.boot(Console(file=said, width=200), DemoService("", "", tmp_path), nobody, keep=False)
    assert f"the test boot is left out: {why}" in said.getvalue()


def _silent(*_command: str, cwd: Path | None = None) -> str:
    """Any command, of which apt knows nothing."""
    assert cwd is None or cwd.exists()
    return ""
