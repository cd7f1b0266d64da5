"""Tracking writes by the kernel's own block events: nothing is compiled or loaded on the host.

A private trace instance records each completed write to the tracked disks. Its buffers are taken in about
every 50 ms while there is load, about once a second at rest, and earlier when one is a quarter full. The
instance and the dirty sets outlive the process: the next one goes on where this one stopped, however it
stopped, if boot, instance, disk and all counters agree.

An event that was lost is never guessed. Whatever may have lost one (a full buffer, a page that says so,
counters that differ, settings that somebody changed) is a **gap**: every disk then has a reason, `gap_of`,
until `restart`, which is called when reading the whole disk begins. Tracking itself goes on at once.

In the run folder: tracker.json (`record`), tracker.ledger (`ledger`), one *.dirty for each disk (`dirty`),
tracker.lock (held by the process that tracks).
"""

import fcntl
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from blake3 import blake3

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.dirty import DirtyMap
from app.agent.daemon.tracking.disks import TrackedDisk, is_writing
from app.agent.daemon.tracking.instance import TRACEFS, Instance, mount_tracefs
from app.agent.daemon.tracking.intake import Sieve
from app.agent.daemon.tracking.record import read_record
from app.agent.daemon.tracking.roster import record_path
from app.agent.daemon.tracking.session import Session
from app.agent.daemon.tracking.watch import Watch

_KIB_PER_CPU: Final = 4096
"""About 75,000 events: a minute of 1,200 writes a second on one CPU while no agent runs."""
_KIB_LEAST: Final = 1024
_KIB_IN_ALL: Final = 64 * 1024
"""Of kernel memory, where CPUs are many."""
_JUST_BEGUN: Final = "it is tracked since just now"


class TraceTracker:
    """One for all disks of an agent; see the module. Methods may be called by any thread.

    `buffer_kib` is kernel memory for each CPU; `sieve` drops events, for tests.
    """

    def __init__(
        self, run: Path, *, buffer_kib: int = 0, sieve: Sieve | None = None, root: Path = TRACEFS
    ) -> None:
        self._run = run
        self._root = root
        self._buffer_kib = buffer_kib or default_buffer_kib(os.cpu_count() or 1)
        self._sieve = sieve
        self._session: Session | None = None
        self._watch: Watch | None = None
        self._lock = threading.RLock()
        self._lock_fd = -1

    @property
    def instance(self) -> Instance:
        """The trace instance of this run folder."""
        return Instance(
            f"go2cloud-{blake3(os.fsencode(self._run.resolve())).hexdigest(length=6)}", self._root
        )

    def start(self, disks: Sequence[TrackedDisk]) -> None:
        """Go on with the tracker of an earlier process, or begin anew, and track these disks.

        Afterwards a disk whose dirty sets are whole since the earlier process has no gap; `gap_of` says why
        another one has. Raises TrackingError.
        """
        with self._lock:
            self._take_run_folder()
            try:
                self._session, reason = self._open()
                self._session.change(disks, reason or _JUST_BEGUN)
            except BaseException:
                self._let_go(forget=False)
                raise
            self._watch = Watch(self._look, self._descriptors)

    def _open(self) -> tuple[Session, str]:
        mount_tracefs(self._root)
        earlier = read_record(record_path(self._run))
        if isinstance(earlier, str):
            return Session.begin(self._run, self.instance, self._buffer_kib, self._sieve), earlier
        adopted = Session.adopt(self._run, self.instance, earlier, self._sieve)
        if isinstance(adopted, str):
            return Session.begin(self._run, self.instance, self._buffer_kib, self._sieve), adopted
        return adopted, ""

    def track(self, disks: Sequence[TrackedDisk]) -> None:
        """Track these disks and no others from now on; new and changed ones have a gap until `restart`.

        Raises TrackingError.
        """
        with self._lock:
            self._opened().change(disks, _JUST_BEGUN)

    def drain(self) -> None:
        """Take in every write that was complete before the call, and look for gaps. Raises TrackingError."""
        with self._lock:
            self._opened().drain()

    def dirty_of(self, key: str) -> DirtyMap:
        """The dirty sets of a disk. Raises TrackingError."""
        with self._lock:
            return self._opened().roster.of(key).dirty

    def gap_of(self, key: str) -> str:
        """Why the dirty sets of a disk are not whole since its last `restart`; nothing if they are."""
        with self._lock:
            return self._opened().roster.of(key).record.gap

    def identity_of(self, key: str) -> str:
        """Boot, instance and beginning of a disk's tracking.

        Where it is the same at two moments, and there is no gap at the second, no write between was missed.
        """
        with self._lock:
            return self._opened().roster.identity_of(key)

    def is_writing(self, key: str) -> bool:
        """Whether a write to the whole disk is under way, or that cannot be told."""
        with self._lock:
            return is_writing(self._opened().roster.of(key).record.number)

    def restart(self, key: str) -> None:
        """Begin anew with empty dirty sets and no gap: the whole disk is read now. Raises TrackingError."""
        with self._lock:
            self._opened().restart(key)

    def close(self, keep: bool) -> None:
        """End. With `keep` the kernel goes on recording for the next process, until its buffers are full.

        Without it the instance and all that lies in the run folder are removed. Raises TrackingError.
        """
        if self._watch:
            self._watch.stop()
            self._watch = None
        with self._lock:
            try:
                if keep and self._session:
                    self._session.drain()
            finally:
                self._let_go(forget=not keep)

    def _look(self) -> int:
        with self._lock:
            return self._opened().look()

    def _descriptors(self) -> list[int]:
        with self._lock:
            return self._opened().descriptors()

    def _opened(self) -> Session:
        if self._session is None:
            raise TrackingError("the tracker is not running")
        return self._session

    def _take_run_folder(self) -> None:
        try:
            self._run.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(self._run / "tracker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise TrackingError(f"the run folder {self._run} cannot be used: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise TrackingError(
                f"another process tracks with the run folder {self._run}", remedy="stop it first"
            ) from error
        self._lock_fd = fd

    def _let_go(self, forget: bool) -> None:
        session, self._session = self._session, None
        try:
            if session:
                session.close(forget)
        finally:
            if self._lock_fd >= 0:
                os.close(self._lock_fd)
                self._lock_fd = -1


def default_buffer_kib(cpus: int) -> int:
    """KiB of buffer for each of so many CPUs."""
    return max(_KIB_LEAST, min(_KIB_PER_CPU, _KIB_IN_ALL // cpus))
