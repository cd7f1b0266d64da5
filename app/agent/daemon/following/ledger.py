"""What the head holds of a disk, as this agent knows it: what the disk's dirty sets stand on.

    <disk>.head    Entry   the root that the service last confirmed
    <disk>.next    Entry   the root that a commit under way asks for
    <disk>.doubt   (empty) the head was found to be not what the disk holds

`next` is written before the commit and takes the place of `head` after it. An agent that ended in between
learns from the next session which of the two the service has: see `Ledger.of`. The files lie beside the dirty
sets, in memory: a reboot ends both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blake3 import blake3

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.state import write_atomically
from app.wire.errors import MessageError, TreeError
from app.wire.jsonform import decode, encode
from app.wire.messages import Hash, Range
from app.wire.tree import RootNode

_HEAD: Final = "head"
_NEXT: Final = "next"
_DOUBT: Final = "doubt"


@dataclass(frozen=True)
class Entry:
    """A disk of a checkpoint. `tree` is its encoded root node in hex, `tracker` names the tracking that its
    dirty sets come from; ranges are (offset, length). `unwritten` are ranges whose writes do not count."""

    root: Hash
    tree: str
    tracker: str
    omitted: tuple[Range, ...] = ()
    unreadable: tuple[Range, ...] = ()
    unwritten: tuple[Range, ...] = ()

    @property
    def node(self) -> RootNode:
        """The disk's tree. Raises TreeError."""
        return RootNode.decode(bytes.fromhex(self.tree))


class Ledger:
    """The entries of one disk. Raises TrackingError where they cannot be kept."""

    def __init__(self, folder: Path, key: str) -> None:
        name = blake3(key.encode()).hexdigest(length=16)
        self._head = folder / f"{name}.{_HEAD}"
        self._next = folder / f"{name}.{_NEXT}"
        self._doubt = folder / f"{name}.{_DOUBT}"

    def of(self, root: str) -> tuple[Entry | None, bool]:
        """The entry of the root (hex) that the service has, and whether the last commit asked for just that.

        From then on it is the head's entry. None where this agent does not know the root, or doubts it.
        """
        committed = _read(self._next)
        was_committed = committed is not None and committed.root == root
        if was_committed:
            self.promote()
        self._next.unlink(missing_ok=True)
        held = _read(self._head)
        is_known = held is not None and held.root == root and not self._doubt.exists()
        return held if is_known else None, was_committed

    def ask(self, entry: Entry) -> None:
        """A commit of this entry is about to be asked for."""
        with _keeping(self._next):
            write_atomically(self._next, encode(entry))

    def promote(self) -> None:
        """The commit that was asked for succeeded."""
        with _keeping(self._head):
            self._next.replace(self._head)

    def doubt(self) -> None:
        """The head is not what the disk holds: until `forget` nothing is known, to a later process too."""
        with _keeping(self._doubt):
            self._doubt.touch()

    def forget(self) -> None:
        """Nothing is known any more; must come before the dirty sets are emptied."""
        self._next.unlink(missing_ok=True)
        self._head.unlink(missing_ok=True)
        self._doubt.unlink(missing_ok=True)


@contextmanager
def _keeping(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrackingError(
            f"what is known of a disk's replica cannot be kept in {path}: {error.strerror}",
            code="TRACKING_STATE",
            remedy="make room in /run",
        ) from error


def _read(path: Path) -> Entry | None:
    """An entry; None where there is none, or none that can be used."""
    try:
        entry = decode(Entry, path.read_bytes())
        return entry if entry.node.hash.hex() == entry.root else None
    except (FileNotFoundError, MessageError, TreeError, ValueError):
        return None
