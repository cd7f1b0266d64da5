"""A mark of the owner's hooks that were run for `pre-freeze` and wait for their `post-thaw`.

    <run directory>/hooks-<pid>      the directory of the hooks, then their names, each ended by a NUL

A name is written before its hook is run, and the mark is removed when all have had their `post-thaw`. Its
writer holds a lock (flock) on it: a mark that can be locked was left by an agent that was killed meanwhile.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "hooks-"


class HookMark:
    """The mark of this process. Raises OSError."""

    def __init__(self, run: Path) -> None:
        self._path = run / f"{_PREFIX}{os.getpid()}"
        self._fd = -1

    def add(self, directory: Path, name: str) -> None:
        """The hook with this name is about to be run."""
        if self._fd < 0:
            self._begin(directory)
        self._append(name)

    def _begin(self, directory: Path) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(str(directory.absolute()))
        except BaseException:
            self.remove()
            raise

    def _append(self, text: str) -> None:
        data = os.fsencode(text) + b"\0"
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))

    def remove(self) -> None:
        """All of them have had their end."""
        if self._fd >= 0:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
            os.close(self._fd)
            self._fd = -1


@dataclass(frozen=True)
class LeftMark:
    """What a mark says that an agent left which was killed: hooks of a directory, by name."""

    directory: Path
    names: tuple[str, ...]


def take_left(run: Path) -> Iterator[LeftMark]:
    """The marks of agents that are gone; each is removed when the next one is asked for. Raises OSError."""
    for path in sorted(run.glob(f"{_PREFIX}*")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file, contextlib.ExitStack() as end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            texts = [os.fsdecode(text) for text in file.read().split(b"\0")[:-1]]
            end.callback(path.unlink, missing_ok=True)
            if texts:
                yield LeftMark(Path(texts[0]), tuple(texts[1:]))
