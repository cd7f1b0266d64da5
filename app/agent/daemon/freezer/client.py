"""The daemon's side of the freezer.

It watches the freezer as the freezer watches it: both have the filesystems open. When the freezer dies or
falls silent while something is frozen, this side kills what is left of it and thaws by itself.
"""

import contextlib
import errno
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from app.agent.daemon.disk.mounts import open_mount
from app.agent.daemon.disk.standing import Standing
from app.agent.daemon.errors import FreezeError
from app.agent.daemon.freezer import kernel
from app.agent.daemon.freezer.command import freezer_command
from app.agent.daemon.freezer.protocol import ANSWER_BYTES, Answer, Fate, Kind, Op, Reason, Request
from app.agent.daemon.freezer.rescue import thaw_left_frozen
from app.agent.daemon.freezer.results import Frozen, Outcome, Thawed
from app.agent.daemon.state import RUN_DIR

BUDGET_SECONDS: Final = 2.0
"""How long a freeze, and what is read under it, may last."""
DEAD_MAN_SECONDS: Final = 10.0
"""After so long it thaws whatever happens."""
_START_SECONDS: Final = 60.0
_SYNC_SECONDS: Final = 600.0
_GRACE_SECONDS: Final = 5.0
"""How much later than its budget an answer may come; after a thaw, how long it may take."""


class _Lost(Exception):
    """The freezer is gone, or does not answer, or says what cannot be understood."""


class Freezer:
    """Freezes filesystems at one moment and thaws them again. For one thread; `close` included.

    A cut is `prepare`, `freeze`, `thaw`. Between cuts nothing is held open, so that filesystems can be
    unmounted. After FREEZER_DIED, `start` makes a new process.
    """

    def __init__(self, directory: Path = RUN_DIR) -> None:
        self._directory = directory
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._watcher: threading.Thread | None = None
        self._handed: list[tuple[Standing, int]] = []
        self._is_frozen = False
        self._began = 0.0
        self._taken: Thawed | None = None

    @property
    def pid(self) -> int:
        """The freezer's process id; 0 when there is none."""
        return self._process.pid if self._process else 0

    @property
    def is_running(self) -> bool:
        """Whether there is a process that can freeze."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> tuple[str, ...]:
        """Start the process, before anything is frozen; notes for the operator.

        What an earlier freezer left frozen is thawed first. Raises FreezeError.
        """
        self.close()
        notes = [f"left frozen: {each}" for each in thaw_left_frozen(self._directory) if each.error == 0]
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket = ours
        with theirs:
            self._process = self._spawn(theirs.fileno())
        try:
            ready = self._receive(_START_SECONDS)
        except _Lost as lost:
            self._end_process()
            raise _died(f"it did not start: {lost}") from lost
        if ready.error:
            notes.append(f"the freezer's memory cannot be locked: {os.strerror(ready.error)}")
        if ready.index:
            notes.append(f"the freezer is not spared when memory is short: {os.strerror(ready.index)}")
        self._watcher = threading.Thread(target=self._watch, args=(ours,), name="freezer", daemon=True)
        self._watcher.start()
        return tuple(notes)

    def _spawn(self, fd: int) -> subprocess.Popen[bytes]:
        """Its outputs are closed to it: a full pipe or a frozen file must not stop it."""
        try:
            return subprocess.Popen(
                freezer_command(fd, self._directory),
                pass_fds=(fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._end_process()
            raise _died(f"it cannot be started: {error.strerror}") from error

    def prepare(self, standings: Iterable[Standing]) -> None:
        """Open the filesystems, here and there, innermost first; read-only ones are left out.

        Raises FreezeError: FILESYSTEM_UNREACHABLE when one is not where it was seen, FREEZER_DIED.
        """
        with self._lock:
            self._require_process()
            self._forget()
            writable = [standing for standing in standings if not standing.is_read_only]
            try:
                for standing in sorted(writable, key=lambda each: -each.depth):
                    self._hand_over(standing)
            except _Lost as lost:
                self._forget()
                raise _died(str(lost)) from lost
            except FreezeError:
                self._forget()
                raise

    def _hand_over(self, standing: Standing) -> None:
        try:
            fd = open_mount(standing.path, standing.mount_id)
        except OSError as error:
            raise FreezeError(
                f"{standing.kind} at {standing.target} cannot be opened to freeze it: {error.strerror}",
                code="FILESYSTEM_UNREACHABLE",
                remedy="nothing is frozen; look again at what is mounted",
            ) from error
        self._handed.append((standing, fd))
        major, _, minor = standing.number.partition(":")
        self._send(Request(Op.ADD, int(major), int(minor), depth=standing.depth), fd)

    def freeze(self, budget: float, dead_man: float = DEAD_MAN_SECONDS) -> Frozen:
        """Freeze what was prepared within `budget` seconds; `dead_man` seconds later it thaws by itself.

        Caches are written back before, outside of the budget. Raises FreezeError when one cannot be frozen
        or the time is over; then all of them are thawed again, and have to be prepared again.
        """
        with self._lock:
            self._require_process()
            try:
                self._send(Request(Op.FREEZE, budget=budget, dead_man=dead_man))
                outcomes, done = self._freeze_answers(budget)
            except _Lost as lost:
                self._take_over()
                self._forget()
                raise _died(str(lost)) from lost
            if done.code != Reason.NONE:
                self._forget()
                raise _not_frozen(outcomes, done, budget)
            self._is_frozen, self._began = True, done.began
            return Frozen(outcomes, done.began, done.took)

    def _freeze_answers(self, budget: float) -> tuple[tuple[Outcome, ...], Answer]:
        first = self._receive(_SYNC_SECONDS)
        if first.kind is Kind.DONE:
            return (), first
        return self._answers(budget + _GRACE_SECONDS)

    def thaw(self) -> Thawed:
        """Thaw what `freeze` froze; nothing is prepared any more.

        Raises FreezeError: NOT_FROZEN, or STILL_FROZEN when a filesystem does not thaw.
        """
        with self._lock:
            thawed = self._taken or self._thawed()
            self._taken, self._is_frozen = None, False
            self._forget()
        stuck = [str(each) for each in thawed.outcomes if each.fate is Fate.STUCK]
        if stuck:
            raise FreezeError(
                "; ".join(stuck),
                code="STILL_FROZEN",
                remedy="run go2cloud-agent thaw, or fsfreeze --unfreeze",
            )
        return thawed

    def _thawed(self) -> Thawed:
        if not self._is_frozen:
            raise FreezeError("nothing is frozen", code="NOT_FROZEN", remedy="freeze first")
        try:
            self._send(Request(Op.THAW))
            outcomes, done = self._answers(_GRACE_SECONDS)
        except _Lost:
            return self._take_over()
        return Thawed(outcomes, done.took, timer_fired=done.code != Reason.ASKED)

    def close(self) -> None:
        """Thaw what is frozen and end the process."""
        with self._lock:
            if self._is_frozen and self._taken is None:
                self._thawed()
            self._taken, self._is_frozen = None, False
            self._forget()
        self._end_process()

    def _end_process(self) -> None:
        if self._socket is not None:
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._watcher is not None:
            self._watcher.join()
        if self._process is not None:
            if not _is_gone(self._process, _GRACE_SECONDS):
                self._process.kill()
            self._process.wait()
        if self._socket is not None:
            self._socket.close()
        self._socket = self._watcher = self._process = None

    def _require_process(self) -> None:
        if self._process is None or self._process.poll() is not None:
            raise _died("it is not running")

    def _forget(self) -> None:
        """Close the filesystems, there and here. A freezer that is gone has closed its own."""
        with contextlib.suppress(_Lost):
            self._send(Request(Op.FORGET))
            self._receive(_GRACE_SECONDS)
        for _, fd in self._handed:
            os.close(fd)
        self._handed = []

    def _send(self, request: Request, *fds: int) -> None:
        if self._socket is None:
            raise _Lost("it is not running")
        try:
            socket.send_fds(self._socket, [request.packed()], list(fds))
        except OSError as error:
            raise _Lost(error.strerror or "the socket failed") from error

    def _receive(self, seconds: float) -> Answer:
        assert self._socket
        self._socket.settimeout(max(seconds, 0.001))
        try:
            message = self._socket.recv(ANSWER_BYTES)
            if not message:
                raise _Lost("it ended")
            return Answer.unpacked(message)
        except TimeoutError as error:
            raise _Lost(f"it did not answer for {seconds:.0f} s") from error
        except (OSError, ValueError, struct.error) as error:
            raise _Lost(f"its answer cannot be read: {error}") from error
        finally:
            self._socket.settimeout(None)

    def _answers(self, seconds: float) -> tuple[tuple[Outcome, ...], Answer]:
        """The fates of all that was handed over, and the end."""
        ends = time.monotonic() + seconds
        outcomes: list[Outcome] = []
        while (answer := self._receive(ends - time.monotonic())).kind is Kind.FATE:
            outcomes.append(Outcome(self._handed[answer.index][0], Fate(answer.code), answer.error))
        return tuple(outcomes), answer

    def _watch(self, ours: socket.socket) -> None:
        """Wait for the freezer's end, in a thread of its own; thaw where that leaves something frozen."""
        poll = select.poll()
        poll.register(ours, 0)
        poll.poll()
        with self._lock:
            if self._is_frozen and self._taken is None:
                self._take_over()

    def _take_over(self) -> Thawed:
        """Kill the freezer and thaw from here. A freeze under way may end only now: so until it is gone."""
        assert self._process
        self._process.kill()
        sweeps = [_Sweep(self._process, fd) for _, fd in self._handed]
        for sweep in reversed(sweeps):
            sweep.start()
        for sweep in sweeps:
            sweep.join()
        outcomes = tuple(
            Outcome(standing, sweep.fate, sweep.error)
            for (standing, _), sweep in zip(self._handed, sweeps, strict=True)
        )
        seconds = time.monotonic() - self._began if self._is_frozen else 0.0
        self._taken = Thawed(outcomes, seconds, freezer_died=True) if self._is_frozen else None
        return Thawed(outcomes, seconds, freezer_died=True)


class _Sweep(threading.Thread):
    """Thaws one filesystem until no freezer can freeze it any more.

    One thread a filesystem: thawing one may have to wait for another.
    """

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        super().__init__(daemon=True)
        self._process = process
        self._fd = fd
        self.fate = Fate.STRANGER
        self.error = 0

    def run(self) -> None:
        """Thaw, wait a moment for the process's end, and once more after it."""
        is_gone = False
        while not is_gone:
            is_gone = _is_gone(self._process, 0.02)
            self._thaw()

    def _thaw(self) -> None:
        error = kernel.thaw(self._fd)
        if error == 0:
            self.fate, self.error = Fate.THAWED, 0
        elif error != errno.EINVAL:
            self.fate, self.error = Fate.STUCK, error


def _is_gone(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _died(detail: str) -> FreezeError:
    return FreezeError(
        f"the freezer's process: {detail}",
        code="FREEZER_DIED",
        remedy="nothing is frozen; it is started anew",
    )


def _not_frozen(outcomes: tuple[Outcome, ...], done: Answer, budget: float) -> FreezeError:
    """The error that names what could not be frozen and why."""
    if done.code == Reason.NO_NOTE:
        return FreezeError(
            f"the note of what is frozen cannot be written: {os.strerror(done.error)}",
            remedy="nothing is frozen; see to the run directory",
        )
    culprits = "; ".join(map(str, _culprits(outcomes)))
    if done.code == Reason.REFUSED:
        return FreezeError(culprits, code="FREEZE_REFUSED", remedy=_remedy(outcomes))
    return FreezeError(
        f"freezing took longer than {budget:g} s: {culprits}",
        code="FREEZE_OVER_BUDGET",
        remedy="nothing is frozen any more; the next try finds less to write back",
    )


def _culprits(outcomes: tuple[Outcome, ...]) -> Iterator[Outcome]:
    return (each for each in outcomes if each.fate in (Fate.REFUSED, Fate.LATE, Fate.UNTOUCHED, Fate.STUCK))


def _remedy(outcomes: tuple[Outcome, ...]) -> str:
    if any(each.error == errno.EBUSY for each in outcomes):
        return "another program holds it frozen; all others were thawed again"
    return "all others were thawed again"
