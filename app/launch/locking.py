"""Locks over all processes of the node: of a target, and of a volume."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.launch.errors import TargetBusy
from app.store.errors import VolumeBusy

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


@contextlib.contextmanager
def shared(path: Path) -> Iterator[int]:
    """Open a volume to be read and keep it from being changed; yields the descriptor.

    Whoever inherits the descriptor, or a copy of it, goes on holding the lock. Raises VolumeBusy while the
    volume is changed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hold_shared(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def hold_shared(descriptor: int, path: Path) -> None:
    """Keep the open volume from being changed, until all copies of the descriptor are closed.

    Raises VolumeBusy.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise VolumeBusy(
            f"{path} is brought to another checkpoint", remedy="wait for the job that does it"
        ) from None


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
