"""One launch or terminate at a time at a target, over all processes of the node."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.launch.errors import TargetBusy

LOCK_SECONDS: Final = 120


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold the lock on `path` and yield its descriptor, which a child may inherit and hold on.

    Raises TargetBusy when somebody else holds it for LOCK_SECONDS.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _wait_for(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for(descriptor: int, path: Path) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TargetBusy(
                    f"another process holds {path} for more than {LOCK_SECONDS} s", remedy="see who: fuser"
                ) from None
            time.sleep(0.05)
        else:
            return
