"""Heartbeats while a pass runs: the service learns how it goes, and the agent what is wanted of it."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from app.agent.daemon.errors import AgentError
from app.agent.daemon.stopping import Stopped
from app.wire.messages import Polled

FIRST_SECONDS: Final = 2.0
"""The first one comes early: it tells of the pass that has just begun."""


class Heartbeat:
    """Beats in a thread of its own while the block runs, as often as the service wants.

    A failed heartbeat ends nothing: the pass has its own requests, which fail for themselves if the
    service is gone. The first failure of a row is told to `note`.
    """

    def __init__(
        self,
        beat: Callable[[], Polled],
        heard: Callable[[Polled], None],
        seconds: int,
        note: Callable[[str], None],
    ) -> None:
        """`beat` sends one and may raise AgentError, `heard` is given each answer; neither may block long."""
        self._beat = beat
        self._heard = heard
        self._seconds = seconds
        self._note = note
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(timeout=5.0)

    def _run(self) -> None:
        was_good = True
        pause = min(FIRST_SECONDS, self._seconds)
        while not self._done.wait(max(1.0, pause)):
            try:
                polled = self._beat()
                was_good = True
            except Stopped:
                return
            except AgentError as error:
                if was_good and not self._done.is_set():
                    self._note(f"a heartbeat failed: {error}")
                was_good = False
            else:
                self._seconds = polled.heartbeat_seconds
                self._heard(polled)
            pause = self._seconds
