"""What the bench wants of a contestant.

A `PeerKind` says what it is; `open` prepares a fresh target (not timed) and gives a `Peer`, whose steps are
timed one by one in the order of `Case`. A step ends when the copy is on stable storage.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from bench.images import Image
from bench.network import TARGET
from bench.plan import Case, Data
from bench.processes import Processes

PORT: Final = 10800
EVERY: Final = frozenset(Data)
COPIES_ALL: Final = frozenset({Case.FULL})
"""The cases of a tool that knows no difference: each of its copies is a full one."""


@dataclass(frozen=True)
class Stage:
    """Where a peer performs: the disk to copy, a folder of its own for the target, and both ends."""

    image: Image
    folder: Path
    processes: Processes

    @property
    def target(self) -> Path:
        """Where a peer that writes a raw image puts it."""
        return self.folder / "target.raw"

    def make_target(self) -> None:
        """An empty file of the disk's size, for tools that write into one that exists."""
        with self.target.open("wb") as file:
            file.truncate(self.image.size)

    def sync_command(self) -> list[str]:
        """Bring the raw image to stable storage."""
        return ["sync", str(self.target)]


class Peer(Protocol):
    """A contestant on its stage."""

    def run(self, case: Case) -> None:
        """Do what the case asks for. EXPORT is only what comes after FULL. Raises ProcessFailed."""

    def result(self) -> Path:
        """A raw image of what the target holds now; made when there is none. Raises ProcessFailed."""


@dataclass(frozen=True)
class PeerKind:
    """A contestant; `packages` are Debian's, `skips_free`: its copies need not be equal in free blocks."""

    name: str
    packages: tuple[str, ...]
    cases: frozenset[Case]
    data: frozenset[Data]
    skips_free: bool
    open: Callable[[Stage], AbstractContextManager[Peer]]


def receiving(port: int = PORT) -> list[str]:
    """The command that writes what a connection sends to its standard output."""
    return ["socat", "-u", f"TCP-LISTEN:{port},bind={TARGET},reuseaddr", "STDOUT"]


def sending(port: int = PORT) -> list[str]:
    """The command that sends its standard input over a connection."""
    return ["socat", "-u", "STDIN", f"TCP:{TARGET}:{port}"]
