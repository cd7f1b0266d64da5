"""Handing a report to the service, and carrying out the service's orders for one."""

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from app.agent.daemon.errors import AgentError, LinkError, LinkRefused
from app.agent.daemon.link.answer import asked_pause
from app.agent.daemon.link.link import ATTEMPTS, Link, Request
from app.agent.daemon.preflight.registry import Wanted, examine
from app.agent.daemon.stopping import Stop, Stopped
from app.wire.jsonform import encode
from app.wire.preflight import Preflight

_JOIN_SECONDS: Final = 5.0


def deliver(link: Link, report: Preflight, attempts: int = ATTEMPTS) -> None:
    """Send a report; each attempt states the clock anew, from which the service tells its skew.

    Raises LinkError, Refusal, Stopped.
    """
    for attempt in range(1, attempts + 1):
        stated = replace(report, clock=datetime.now(UTC).isoformat())
        try:
            link.send(Request("POST", "/preflights", encode(stated)), attempts=1)
        except LinkRefused:
            raise
        except LinkError as error:
            if attempt == attempts:
                raise
            link.pause(attempt, asked_pause(error))
        else:
            return


class OnDemand:
    """Runs the preflights that the service orders, each in a thread of its own, one at a time.

    Call `see` with the order of each poll's answer, and `settle` before a pass: no preflight reads disks or
    fills the link while a pass does.
    """

    def __init__(
        self, link: Link, wanted: Callable[[str], Wanted], stop: Stop, note: Callable[[str], None]
    ) -> None:
        """`wanted` says what to look at for the order with an id; `note` is told of what failed."""
        self._link = link
        self._wanted = wanted
        self._stop = stop
        self._note = note
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._done = ""

    def see(self, order: str) -> None:
        """Begin with an order that is new; empty for none. One comes again until its report has arrived."""
        if not order or order == self._done or (self._thread is not None and self._thread.is_alive()):
            return
        self._hurry.clear()
        self._thread = threading.Thread(target=self._run, args=(order,), name="preflight", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Cut the observation short and wait until the report is delivered, or has failed."""
        self._hurry.set()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """After the stop: wait a moment for the thread to notice it."""
        self._hurry.set()
        if self._thread is not None:
            self._thread.join(_JOIN_SECONDS)

    def _run(self, order: str) -> None:
        self._stop.listen(self._hurry.set)
        try:
            deliver(self._link, examine(self._wanted(order), self._stop, self._hurry.wait))
            self._done = order
        except Stopped:
            return
        except AgentError as error:
            self._done = "" if isinstance(error, LinkError) else order
            self._note(f"the preflight {order} was not delivered: {error}")
        finally:
            self._stop.unlisten(self._hurry.set)
