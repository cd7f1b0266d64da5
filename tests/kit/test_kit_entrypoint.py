"""entrypoint.sh: roles are served, anything else is run."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it with a `python` that only says how it was called."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/sh\nfor each in "$@"; do printf "<%s>" "$each"; done\n')
    fake.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(
        [ROOT / "entrypoint.sh", *arguments], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("role", ["platform", "api", "agent", "all"])
def test_a_role_is_served_with_the_remaining_arguments(tmp_path: Path, role: str) -> None:
    assert _run(tmp_path, role, "--port", "a b").stdout == f"<-m><app><serve><--role><{role}><--port><a b>"


def test_anything_else_is_run_as_it_stands(tmp_path: Path) -> None:
    done = _run(tmp_path, "sh", "-c", "echo $1; exit 3", "x", "a b")
    assert (done.stdout, done.returncode) == ("a b\n", 3)


def test_nothing_is_a_usage_error(tmp_path: Path) -> None:
    done = _run(tmp_path)
    assert done.returncode == 2
    assert "usage:" in done.stderr
