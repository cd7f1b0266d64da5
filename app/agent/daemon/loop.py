"""What the daemon does all day: heartbeat, wait for a command or the interval, synchronise.

`once` is one synchronisation and the end. Both begin with a heartbeat, which takes the lease: where
another instance of this server is alive, the service answers DUPLICATE_AGENT.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from app.agent.daemon.console import Console
from app.agent.daemon.errors import AgentError, Denied, LinkError, LinkRefused
from app.agent.daemon.heartbeat import Heartbeat
from app.agent.daemon.preflight.delivery import OnDemand
from app.agent.daemon.service import Service
from app.agent.daemon.state import LastPass, StateDir
from app.agent.daemon.stopping import Stop, Stopped
from app.agent.daemon.sync import Synchroniser, SyncResult
from app.agent.daemon.verification.background import Verifications
from app.wire.messages import Inventory, Poll, Polled, Release

LONGEST_WAIT: Final = 15
"""Seconds of one long poll. A connection that died silently is noticed soon after."""
POLL_ATTEMPTS: Final = 2
"""The loop repeats polls by itself, so that an absent service is noticed, and told, early."""
GREETING_ATTEMPTS: Final = 8
"""Of a single synchronisation: some 20 seconds, then the user learns that nobody answers."""
DENIALS: Final = 3
"""The daemon ends when it is denied so often in a row: one denial may come of a request that was garbled."""
_FIRST_RETRY: Final = 2.0
_LONGEST_LINK_RETRY: Final = 15.0
_LONGEST_RETRY: Final = 600.0
"""A fault of the link ends of itself; after others a pass, which reads whole disks, is tried ever less."""


class Daemon:
    """The loop; `inventory` is taken anew at each start."""

    def __init__(
        self,
        service: Service,
        state: StateDir,
        synchroniser: Synchroniser,
        preflights: OnDemand,
        console: Console,
        stop: Stop,
        inventory: Callable[[], Inventory],
        verifications: Verifications,
    ) -> None:
        self._service = service
        self._state = state
        self._synchroniser = synchroniser
        self._preflights = preflights
        self._console = console
        self._stop = stop
        self._inventory = inventory
        self._verifications = verifications
        self._instance = state.instance_id()
        self._failures = 0
        self._was_absent = False

    def once(self) -> SyncResult:
        """Synchronise once. Raises AgentError; DUPLICATE_AGENT is one of its codes."""
        try:
            return self._sync(self._greet(GREETING_ATTEMPTS))
        finally:
            self._synchroniser.close(keep=False)
            self._release()

    def forever(self) -> None:
        """Until the stop; the kernel goes on recording writes for the next daemon.

        Raises Denied or LinkRefused, for which waiting is no cure.
        """
        try:
            self._serve()
        except Stopped:
            self._console.note("stopping")
        finally:
            self._preflights.end()
            self._verifications.close()
            self._synchroniser.close(keep=True)
            self._release()

    def _greet(self, attempts: int = POLL_ATTEMPTS) -> Polled:
        return self._service.poll(Poll(self._instance, "idle", inventory=self._inventory()), attempts)

    def _serve(self) -> None:
        polled, due = self._until_good(self._greet), time.monotonic()
        while True:
            self._stop.check()
            self._verifications.follow(polled.orders.verification)
            if polled.command == "sync" or self._is_due(polled, due):
                self._preflights.settle()
                due = time.monotonic() + self._sync_and_wait(polled)
            wait = int(max(1.0, min(float(LONGEST_WAIT), due - time.monotonic())))
            polled = self._until_good(partial(self._poll, wait))
            self._preflights.see(polled.orders.preflight)
            if self._was_absent and self._failures:
                due = time.monotonic()

    def _is_due(self, polled: Polled, due: float) -> bool:
        wanted = polled.sync_interval_seconds > 0 or self._failures > 0
        return wanted and time.monotonic() >= due

    def _poll(self, wait: int) -> Polled:
        return self._service.poll(Poll(self._instance, "idle", wait), POLL_ATTEMPTS)

    def _until_good(self, ask: Callable[[], Polled]) -> Polled:
        """Repeat until the service answers; another live instance is waited out too.

        Raises Denied or LinkRefused when that is the answer `DENIALS` times in a row.
        """
        failures = denials = 0
        while True:
            try:
                polled = ask()
            except Stopped:
                raise
            except AgentError as error:
                failures += 1
                denials = denials + 1 if isinstance(error, Denied | LinkRefused) else 0
                if denials == DENIALS:
                    raise
                if failures == 1:
                    self._console.note(f"the service does not serve this agent now: {error}")
                self._service.link.pause(failures)
            else:
                self._was_absent = failures > 0
                return polled

    def _sync_and_wait(self, polled: Polled) -> float:
        """Synchronise; seconds until the next time: the interval, or less after a failure."""
        try:
            self._sync(polled)
        except Stopped:
            raise
        except AgentError as error:
            self._failures += 1
            self._console.note(f"the synchronisation failed: {error}")
            longest = _LONGEST_LINK_RETRY if isinstance(error, LinkError) else _LONGEST_RETRY
            return min(longest, _FIRST_RETRY * 2.0 ** min(self._failures, 10))
        self._failures = 0
        return float(polled.sync_interval_seconds)

    def _sync(self, polled: Polled) -> SyncResult:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with Heartbeat(self._service, self._instance, polled.heartbeat_seconds, self._console.note):
                result = self._synchroniser.run()
        except AgentError as error:
            self._state.save_last_pass(LastPass(now, error=str(error)))
            raise
        self._console.summary(result)
        self._state.save_last_pass(
            LastPass(
                time=now,
                checkpoint_id=result.checkpoint_id,
                number=result.number,
                label=result.label,
                seconds=round(result.seconds),
                wire_bytes=result.counters.wire,
            )
        )
        return result

    def _release(self) -> None:
        """Let the lease go; where that fails, it ends by itself after a while."""
        try:
            self._service.release(Release(self._instance))
        except AgentError as error:
            self._console.note(f"the lease was not released and will run out: {error}")
        self._service.link.close()
