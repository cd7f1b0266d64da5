"""One verification from its order to its result."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from app.agent.daemon.disk.selection import SourceDisk, close_disks, open_disks
from app.agent.daemon.errors import AgentError, DiskError, LinkError, LinkRefused, Refusal
from app.agent.daemon.stopping import Stopped
from app.agent.daemon.verification.calls import VerificationCalls
from app.agent.daemon.verification.comparison import DiskComparison
from app.agent.daemon.verification.guard import Guard
from app.agent.daemon.verification.head import Head
from app.agent.daemon.verification.writes import Writes
from app.wire.verification import DiskVerification, Progress, Verification

PROGRESS_SECONDS: Final = 5.0
WITHDRAWN: Final = "VERIFICATION_NOT_FOUND"


class VerificationRun:
    """Compares all disks with the head, one after the other."""

    def __init__(
        self,
        verification: str,
        calls: VerificationCalls,
        named: tuple[str, ...],
        writes: Writes,
        guard: Guard,
        note: Callable[[str], None],
    ) -> None:
        self._id = verification
        self._calls = calls
        self._named = named
        self._writes = writes
        self._guard = guard
        self._note = note
        self._told_at = float("-inf")
        self._was_told = True
        self._total = 0
        self._checkpoint = ""
        self._results: list[DiskVerification] = []

    def run(self) -> Verification:
        """The result, also of one that broke off. Raises Stopped when it is no longer wanted."""
        code = detail = ""
        try:
            self._compare()
        except Stopped:
            raise
        except AgentError as error:
            if isinstance(error, Refusal) and error.code == WITHDRAWN:
                raise Stopped("the verification is no longer wanted") from error
            code, detail = error.code, str(error)
        return Verification(self._checkpoint, tuple(self._results), code[:64], detail[:1000])

    def _compare(self) -> None:
        with _opened(self._named) as disks:
            self._total = sum(disk.reader.size for disk in disks)
            self._tell(0)
            head = Head(self._calls)
            before = 0
            for disk in disks:
                self._checkpoint = head.checkpoint_id
                self._results.append(self._disk(disk, head, before))
                before += disk.reader.size
            self._checkpoint = head.checkpoint_id
            self._results += _absent(head, disks)
            self._told_at = float("-inf")
            self._tell(before)

    def _disk(self, disk: SourceDisk, head: Head, before: int) -> DiskVerification:
        """A disk that cannot be compared does not keep the others from it."""
        found = head.disk(disk.disk.key)
        if found is None:
            note = "the head does not hold this disk"
            return DiskVerification(disk.disk.key, disk.reader.size, code="DISK_NOT_IN_HEAD", note=note)
        comparison = DiskComparison(disk.reader, disk.disk.key, head, self._writes, self._guard)
        try:
            for _ in comparison.run():
                self._tell(before + comparison.done)
        except DiskError as error:
            return comparison.broken(error)
        return comparison.result

    def _tell(self, done: int) -> None:
        """Post how far it is, where that is due, and take the pace over."""
        if time.monotonic() - self._told_at < PROGRESS_SECONDS:
            return
        with self._guard.step():
            self._post(done)
        self._told_at = time.monotonic()

    def _post(self, done: int) -> None:
        try:
            pace = self._calls.progress(self._id, Progress(done, self._total))
        except LinkRefused:
            raise
        except LinkError as error:
            if self._was_told:
                self._note(f"the progress of the verification could not be told: {error}")
            self._was_told = False
        else:
            self._was_told = True
            self._guard.bytes_per_second = pace.bytes_per_second


def _absent(head: Head, disks: tuple[SourceDisk, ...]) -> list[DiskVerification]:
    """The head's disks that this host does not show."""
    here = {disk.disk.key for disk in disks}
    note = "the head holds this disk, and the host does not show it"
    return [
        DiskVerification(disk.key, disk.size, code="DISK_NOT_FOUND", note=note)
        for disk in head.disks
        if disk.key not in here
    ]


@contextmanager
def _opened(named: tuple[str, ...]) -> Iterator[tuple[SourceDisk, ...]]:
    disks = open_disks(named)
    try:
        yield disks
    finally:
        close_disks(disks)
