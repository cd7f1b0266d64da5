"""Verifications beside the passes: one thread for each, started and withdrawn by the service's orders."""

import threading
from collections.abc import Callable
from typing import Final

from app.agent.daemon import priority
from app.agent.daemon.errors import AgentError
from app.agent.daemon.link.link import Link
from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.verification.calls import VerificationCalls
from app.agent.daemon.verification.guard import PAUSE_SECONDS, Guard
from app.agent.daemon.verification.run import VerificationRun
from app.agent.daemon.verification.writes import Untracked, Writes
from app.wire.verification import Verdict, Verification

JOIN_SECONDS: Final = 10.0

OnDifference = Callable[[tuple[str, ...]], None]
"""Told of the keys of disks whose replica differs where nobody wrote: they have to be read whole again."""


class Verifications:
    """Carries out what `Orders.verification` asks for. Safe to use from several threads.

    `pause` and `resume` are for whoever freezes the source: in between nothing is read, sent or noted.
    """

    def __init__(
        self,
        link: Link,
        named: tuple[str, ...],
        stop: Stop,
        note: Callable[[str], None],
        on_difference: OnDifference,
        writes: Writes | None = None,
    ) -> None:
        self._link = link
        self._named = named
        self._stop = stop
        self._note = note
        self._on_difference = on_difference
        self._writes = writes or Untracked()
        self._lock = threading.Lock()
        self._pauses = 0
        self._wanted = self._finished = ""
        self._guard: Guard | None = None
        self._thread: threading.Thread | None = None

    def follow(self, wanted: str) -> None:
        """Do the verification with this id, and no other; empty for none. Does not block.

        Called with every answer of the service. One that was delivered is not done again for an answer that
        was on its way meanwhile.
        """
        with self._lock:
            self._wanted = wanted
            if self._thread is not None and self._thread.is_alive():
                if self._thread.name != wanted and self._guard is not None:
                    self._guard.withdraw()
                return
            if wanted and wanted != self._finished and not self._stop.is_set:
                self._begin(wanted)

    def _begin(self, wanted: str) -> None:
        guard = Guard(self._stop)
        for _ in range(self._pauses):
            guard.pause(0)
        self._guard = guard
        self._thread = threading.Thread(target=self._run, args=(wanted, guard), name=wanted, daemon=True)
        self._thread.start()

    def pause(self, seconds: float = PAUSE_SECONDS) -> bool:
        """Do nothing until `resume`; whether nothing is under way any more, after `seconds` at most."""
        with self._lock:
            self._pauses += 1
            guard = self._guard
        return guard.pause(seconds) if guard else True

    def resume(self) -> None:
        """Take one `pause` back."""
        with self._lock:
            self._pauses -= 1
            if self._guard:
                self._guard.resume()

    def close(self) -> None:
        """Withdraw what runs and wait for it; the order stands, and is begun anew by the next agent."""
        with self._lock:
            guard, thread = self._guard, self._thread
        if guard and thread and thread.is_alive():
            guard.withdraw()
            thread.join(JOIN_SECONDS)

    def _run(self, wanted: str, guard: Guard) -> None:
        calls = VerificationCalls(self._link, guard, self._note)
        try:
            for text in priority.lower_thread():
                self._note(text)
            run = VerificationRun(wanted, calls, self._named, self._writes, guard, self._note)
            result = run.run()
            self._conclude(result)
            calls.result(wanted, result)
        except Stopped:
            return
        except AgentError as error:
            self._note(f"the result of verification {wanted} was not delivered: {error}")
        finally:
            guard.close()
        self._finished = wanted

    def _conclude(self, result: Verification) -> None:
        """Say what was found, and have disks read again whose replica is not what it should be."""
        keys = tuple(disk.key for disk in result.disks if disk.verdict is Verdict.DIFFERS)
        if keys:
            self._note(f"the replica differs where nobody wrote: {', '.join(keys)}")
            self._on_difference(keys)
        elif result.code:
            self._note(f"the verification broke off: {result.detail}")
        else:
            self._note(f"the verification is over: {result.verdict}")
