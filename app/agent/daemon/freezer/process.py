"""The freezer's own process: it waits for requests, and for the moments at which it thaws unasked.

All threads are there before anything is frozen. The worker, with a crew, makes the calls that may last. The
main thread listens to the daemon and to the clock meanwhile: the end of the stream, a budget that ran out and
the dead-man timer thaw at once, also while the worker hangs in a freeze.

Nothing is written anywhere while something is frozen, except to the daemon's socket.
"""

import contextlib
import os
import queue
import select
import socket
import threading
import time
from pathlib import Path
from typing import Final

from app.agent.daemon.freezer import kernel
from app.agent.daemon.freezer.crew import Crew
from app.agent.daemon.freezer.holder import Holder
from app.agent.daemon.freezer.note import Note
from app.agent.daemon.freezer.protocol import REQUEST_BYTES, Answer, Kind, Op, Reason, Request

_STACK_BYTES: Final = 256 * 1024
_AT_ONCE: Final = 8
_TICK_MS: Final = 20
_NEVER: Final = float("inf")


class FreezerProcess:
    """Serves one daemon, until its end of the socket closes."""

    def __init__(self, daemon: socket.socket, directory: Path) -> None:
        self._daemon = daemon
        kernel.keep_small()
        threading.stack_size(_STACK_BYTES)
        self._crew = Crew(_AT_ONCE)
        self._holder = Holder(self._crew)
        self._note = Note(directory)
        self._work: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._is_busy = False
        self._budget_ends = _NEVER
        self._timer_ends = _NEVER

    def serve(self) -> None:
        """Do as asked; at the end everything is thawed."""
        worker = threading.Thread(target=self._labour, name="worker")
        worker.start()
        not_spared, not_locked = kernel.spare_from_oom(), kernel.lock_memory()
        try:
            self._send(Answer(Kind.READY, index=not_spared, error=not_locked))
            self._listen()
        finally:
            self._holder.thaw(Reason.LEFT_ALONE)
            self._work.put(None)
            worker.join()
            self._crew.dismiss()
            self._tidy()

    def _listen(self) -> None:
        poll = select.poll()
        poll.register(self._daemon, select.POLLIN)
        while True:
            is_waiting = poll.poll(_TICK_MS if self._is_busy else None)
            self._keep_time()
            if is_waiting:
                message, fds, _, _ = socket.recv_fds(self._daemon, REQUEST_BYTES, 1)
                if not message:
                    return
                self._carry_out(Request.unpacked(message), fds)

    def _keep_time(self) -> None:
        now = time.monotonic()
        if now >= self._timer_ends:
            self._holder.thaw(Reason.TIMER)
        elif now >= self._budget_ends:
            self._holder.thaw(Reason.BUDGET)

    def _carry_out(self, request: Request, fds: list[int]) -> None:
        if request.op is Op.ADD:
            self._holder.add(fds[0], f"{request.major}:{request.minor}", request.depth)
        elif request.op is Op.FORGET:
            self._holder.forget()
            self._send(Answer(Kind.DONE))
        elif request.op is Op.FREEZE:
            self._begin(request)
        else:
            self._thaw()

    def _begin(self, request: Request) -> None:
        self._holder.start_over()
        try:
            self._note.write(self._holder.numbers)
        except OSError as error:
            self._send(Answer(Kind.DONE, Reason.NO_NOTE, error=error.errno or 0))
            return
        self._is_busy = True
        self._work.put(request)

    def _labour(self) -> None:
        """The worker's life. When it ends, by whatever, the main thread hears the end of the stream."""
        try:
            while request := self._work.get():
                self._freeze(request)
        finally:
            self._holder.thaw(Reason.LEFT_ALONE)
            with contextlib.suppress(OSError):
                self._daemon.shutdown(socket.SHUT_RDWR)

    def _freeze(self, request: Request) -> None:
        self._holder.sync()
        self._send(Answer(Kind.SYNCED))
        self._budget_ends = time.monotonic() + request.budget
        self._timer_ends = time.monotonic() + request.dead_man
        self._holder.freeze()
        self._budget_ends = _NEVER
        self._tell()
        if not self._holder.is_holding:
            self._rest()

    def _thaw(self) -> None:
        self._holder.thaw(Reason.ASKED)
        self._tell()
        self._rest()

    def _rest(self) -> None:
        self._timer_ends = _NEVER
        self._is_busy = False
        self._tidy()

    def _tidy(self) -> None:
        """Remove the note, unless a rescue needs it: then the note's disk may be what did not thaw."""
        if not self._holder.has_stuck:
            self._note.remove()

    def _tell(self) -> None:
        for answer in self._holder.answers():
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        """Answer; a daemon that is gone shows at the next look at the stream."""
        with contextlib.suppress(OSError):
            self._daemon.send(answer.packed())


def run(fd: int, directory: Path) -> None:
    """Be the freezer at the socket that was inherited as `fd`, with notes in `directory`."""
    os.chdir("/")
    with socket.socket(fileno=fd) as daemon:
        FreezerProcess(daemon, directory).serve()
