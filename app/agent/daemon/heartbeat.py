"""Heartbeats while a pass runs, so that the service knows that this agent is alive and holds its lease."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from app.agent.daemon.errors import AgentError
from app.agent.daemon.service import Service
from app.agent.daemon.stopping import Stopped
from app.wire.messages import Poll


class Heartbeat:
    """Polls every `seconds` in a thread of its own while the block runs.

    A failed heartbeat ends nothing: the pass has its own requests, which fail for themselves if the
    service is gone. The first failure of a row is told to `note`.
    """

    def __init__(self, service: Service, instance: str, seconds: int, note: Callable[[str], None]) -> None:
        self._service = service
        self._instance = instance
        self._seconds = max(1, seconds)
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
        while not self._done.wait(self._seconds):
            try:
                self._service.poll(Poll(self._instance, "syncing"), attempts=1)
                was_good = True
            except Stopped:
                return
            except AgentError as error:
                if was_good and not self._done.is_set():
                    self._note(f"a heartbeat failed: {error}")
                was_good = False
