"""What an agent put on the wire, written down so that no SIGKILL loses it.

One line a thing: `begin`, `sent <bytes>`, `result`. A put that began and has no result was lost.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LEDGER_FILE = "FAULT_LEDGER"
"""The environment variable that names the file."""


@dataclass(frozen=True)
class Sent:
    """Bytes of put bodies, and how many puts began and got their result."""

    bytes: int = 0
    begun: int = 0
    answered: int = 0

    @property
    def lost(self) -> int:
        """Puts without a result."""
        return self.begun - self.answered

    def __sub__(self, before: "Sent") -> "Sent":
        """What came since `before`."""
        return Sent(self.bytes - before.bytes, self.begun - before.begun, self.answered - before.answered)


@dataclass(frozen=True)
class Ledger:
    """The file."""

    path: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What the agent's environment needs."""
        return {LEDGER_FILE: str(self.path)}

    def note(self, line: str) -> None:
        """Write a line down; one write call, so that it is there whole or not at all."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)

    def read(self) -> Sent:
        """The sums so far."""
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        sent = sum(int(line.split()[1]) for line in lines if line.startswith("sent "))
        return Sent(sent, lines.count("begin"), lines.count("result"))
