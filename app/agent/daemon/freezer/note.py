"""A note of what is about to be frozen, for a rescue when the freezer was killed with all who knew.

    <run directory>/frozen-<pid>      one line a filesystem, "major:minor", in the order of freezing

Written before the first freeze and removed after the last thaw, so that nothing is written while anything
is frozen. The freezer holds a lock (flock) on its note: a note that can be locked was left by a dead one.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "frozen-"


class Note:
    """A freezer's note. Raises OSError."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"{_PREFIX}{os.getpid()}"
        self._fd = -1

    def write(self, numbers: Sequence[str]) -> None:
        """Note what will be frozen."""
        self._close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with os.fdopen(os.dup(self._fd), "wb") as out:
                out.write("".join(f"{number}\n" for number in numbers).encode())
        except BaseException:
            self.remove()
            raise

    def remove(self) -> None:
        """Nothing is frozen any more."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True)
class Left:
    """A note that was found. `is_live` says that its freezer is at work."""

    path: Path
    numbers: tuple[str, ...]
    is_live: bool


def notes_in(directory: Path) -> Iterator[Left]:
    """The notes of all freezers. Raises OSError for one that cannot be read."""
    for path in sorted(directory.glob(f"{_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError):
            yield _read(path)


def _read(path: Path) -> Left:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        is_live = _is_locked(fd)
        return Left(path, tuple(os.read(fd, 1 << 20).decode("ascii", "replace").split()), is_live)
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
