"""A lock that one process holds on a file, for what only one process may open at a time.

It is an advisory `flock` on a file of its own beside the guarded thing. The kernel releases it when the
process ends, however it ends; the empty file stays, because removing it would let two processes each lock
"the" file. The lock belongs to the opened file, so that a second opening in the same process is refused
too.
"""

import fcntl
import os
from pathlib import Path


class FileLock:
    """The lock on `path`, held from `acquire` to `release`."""

    def __init__(self, path: Path) -> None:
        """Name the lock file; nothing is opened yet."""
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> bool:
        """Take the lock without waiting; False when somebody else holds it. Makes the file and its folder."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back; harmless when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
