"""The store's system calls, of which the n-th fails."""

import errno
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from app.kit.clock import Clock
from app.wire.buffers import Buffer
from tests.faults.store.store_services import ClockedCalls


class Fault(StrEnum):
    """What happens to the call: an error once, no room from there on, or only half of a write and no more."""

    EIO = "EIO"
    ENOSPC = "ENOSPC"
    SHORT_WRITE = "short write"


_CODES = {Fault.EIO: errno.EIO, Fault.ENOSPC: errno.ENOSPC, Fault.SHORT_WRITE: errno.EIO}


class FailingCalls(ClockedCalls):
    """Lets the call number `at` (from 1) fail; `at` 0 fails none. SHORT_WRITE counts writes only.

    Where there is no room, later writes and new folders fail too, while files can still be removed.
    """

    def __init__(self, clock: Clock, fault: Fault, at: int) -> None:
        """Nothing was called yet."""
        super().__init__(clock)
        self.calls = 0
        self.failed = 0
        self._fault = fault
        self._at = at

    def heal(self) -> None:
        """Fail nothing more."""
        self._at = 0

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> None:
        """See `FileCalls.write`."""
        if self._is_struck(takes_room=True):
            data = b"".join(parts)
            super().write(descriptor, [data[: len(data) // 2]])
            self._fail("write")
        super().write(descriptor, parts)

    def fsync(self, descriptor: int, path: Path) -> None:
        """See `FileCalls.fsync`."""
        self._check(f"fsync {path}")
        super().fsync(descriptor, path)

    def rename(self, source: Path, target: Path) -> None:
        """See `FileCalls.rename`."""
        self._check(f"rename {target}")
        super().rename(source, target)

    def make_folder(self, path: Path) -> bool:
        """See `FileCalls.make_folder`."""
        self._check(f"mkdir {path}", takes_room=True)
        return super().make_folder(path)

    def unlink(self, path: Path) -> None:
        """See `FileCalls.unlink`."""
        self._check(f"unlink {path}")
        super().unlink(path)

    def _check(self, call: str, *, takes_room: bool = False) -> None:
        if self._fault is not Fault.SHORT_WRITE and self._is_struck(takes_room=takes_room):
            self._fail(call)

    def _is_struck(self, *, takes_room: bool) -> bool:
        self.calls += 1
        if not self._at:
            return False
        is_late = self._fault is Fault.ENOSPC and takes_room and self.calls > self._at
        return self.calls == self._at or is_late

    def _fail(self, call: str) -> None:
        self.failed += 1
        code = _CODES[self._fault]
        raise OSError(code, os.strerror(code), call)
