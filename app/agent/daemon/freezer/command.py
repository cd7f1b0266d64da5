"""How the freezer's process is started, from a Python or from an agent that is one file."""

import sys
from pathlib import Path
from typing import Final

WORD: Final = "freezer"
"""The subcommand by which an agent made by PyInstaller, which has no Python to call, becomes the freezer."""


def freezer_command(fd: int, directory: Path) -> list[str]:
    """The arguments; `fd` is the socket to be inherited. No byte code is written: a disk may be frozen."""
    own = [sys.executable, "-B", "-m", "app.agent.daemon.freezer"]
    if getattr(sys, "frozen", False):
        own = [sys.executable, WORD]
    return [*own, str(fd), str(directory)]
