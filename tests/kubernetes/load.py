"""Requests all the time, each on a new connection, and what became of them."""

import threading
from dataclasses import dataclass, field

import httpx2

PAUSE_SECONDS = 0.1


@dataclass
class Load:
    """What was asked, and the failures by their words."""

    url: str
    token: str | None = None
    asked: int = 0
    failures: list[str] = field(default_factory=list)
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Load":
        """Begin."""
        self._thread = threading.Thread(target=self._ask_on, name="load", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, and wait for the last answer."""
        self._stopping.set()
        assert self._thread is not None
        self._thread.join()

    def _ask_on(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        while not self._stopping.wait(PAUSE_SECONDS):
            self.asked += 1
            try:
                answer = httpx2.get(self.url, headers=headers, timeout=30)
            except httpx2.HTTPError as error:
                self.failures.append(repr(error))
            else:
                if not answer.is_success:
                    self.failures.append(f"{answer.status_code}: {answer.text[:200]}")
