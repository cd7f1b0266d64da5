"""Tells the service how a hold stands, in a thread of its own: at each change, and now and then."""

import threading
from collections.abc import Callable
from typing import Final

from app.agent.daemon.errors import AgentError, LinkError
from app.agent.daemon.hold.keeper import JOIN_SECONDS, Keeper
from app.agent.daemon.hold.telling import Told
from app.agent.daemon.link.link import Link, Request
from app.agent.daemon.stopping import Stop, Stopped
from app.wire.hold import HoldPhase
from app.wire.jsonform import encode

AGAIN_SECONDS: Final = 60.0
"""A service whose database was restored hears what it has forgotten."""
RETRY_SECONDS: Final = 2.0


class Reporter:
    """Sends what the keeper has to tell. Call `open` once, `close` after the keeper was closed."""

    def __init__(self, link: Link, keeper: Keeper, stop: Stop, note: Callable[[str], None]) -> None:
        self._link = link
        self._keeper = keeper
        self._stop = stop
        self._note = note
        self._was_told = ""
        self._thread = threading.Thread(target=self._report, name="hold-report", daemon=True)

    def open(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Wait a moment for the thread to notice the end."""
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def _report(self) -> None:
        told: Told | None = None
        while not self._keeper.is_closed and not self._stop.is_set:
            news = self._keeper.news(told, AGAIN_SECONDS)
            if news is None:
                told = None
            elif news != told or news.report.phase != HoldPhase.RELEASED:
                told = news if self._send(news) else None
                self._stop.wait(0 if told else RETRY_SECONDS)

    def _send(self, news: Told) -> bool:
        """Whether the service has it, or does not want it."""
        request = Request("POST", f"/holds/{news.cutover}/report", encode(news.report))
        try:
            self._link.send(request, attempts=1)
        except Stopped:
            return True
        except LinkError as error:
            self._tell(f"the service does not hear of the hold now: {error}")
            return False
        except AgentError as error:
            self._tell(f"the service refuses what it is told of the hold: {error}")
            return True
        self._was_told = ""
        return True

    def _tell(self, text: str) -> None:
        """Once in a row."""
        if text != self._was_told:
            self._note(text)
        self._was_told = text
