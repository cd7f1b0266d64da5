"""What the daemon does all day: heartbeat, obey, wait for a command or the interval, synchronise.

`once` is one synchronisation and the end. Both begin with a heartbeat, which takes the lease: where
another instance of this server is alive, the service answers DUPLICATE_AGENT.

Orders come with every answer. A pause or stop ends the pass that runs within seconds, and what it sent is not
sent again; while it lasts the agent only polls.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from app.agent.daemon.console import Console
from app.agent.daemon.errors import AgentError, Denied, LinkError, LinkRefused, StateError
from app.agent.daemon.heartbeat import Heartbeat
from app.agent.daemon.hold.keeper import Keeper
from app.agent.daemon.hold.reporter import Reporter
from app.agent.daemon.link.answer import asked_pause
from app.agent.daemon.preflight.delivery import OnDemand
from app.agent.daemon.reasons import reason_of
from app.agent.daemon.schedule import Schedule
from app.agent.daemon.service import Service
from app.agent.daemon.state import LastPass, StateDir
from app.agent.daemon.status import Board
from app.agent.daemon.stopping import Halt, Paused, Stopped
from app.agent.daemon.sync import Synchroniser, SyncResult
from app.agent.daemon.verification.background import Verifications
from app.wire.heartbeat import Orders
from app.wire.messages import Inventory, Poll, Polled, Release

LONGEST_WAIT: Final = 50
"""Seconds of one long poll, the most that the service waits; it is shorter where heartbeats are wanted."""
POLL_ATTEMPTS: Final = 2
"""The loop repeats polls by itself, so that an absent service is noticed, and told, early."""
GREETING_ATTEMPTS: Final = 8
"""Of a single synchronisation: some 20 seconds, then the user learns that nobody answers."""
DENIALS: Final = 3
"""The daemon ends when it is denied so often in a row: one denial may come of a request that was garbled."""
RUN: Final = "RUN"
PAUSE: Final = "PAUSE"


@dataclass(frozen=True)
class Workers:
    """Who does what the service wants: the passes, and beside them preflights, verifications and holds."""

    synchroniser: Synchroniser
    preflights: OnDemand
    verifications: Verifications
    keeper: Keeper
    reporter: Reporter


class Daemon:
    """The loop; `inventory` is taken anew at each start, `halt` is what the synchroniser's passes hear."""

    def __init__(
        self,
        service: Service,
        state: StateDir,
        workers: Workers,
        console: Console,
        halt: Halt,
        board: Board,
        inventory: Callable[[], Inventory],
    ) -> None:
        self._service = service
        self._state = state
        self._synchroniser = workers.synchroniser
        self._preflights = workers.preflights
        self._verifications = workers.verifications
        self._keeper = workers.keeper
        self._reporter = workers.reporter
        self._console = console
        self._halt = halt
        self._board = board
        self._inventory = inventory
        self._instance = state.instance_id()
        self._schedule = Schedule()
        self._was_absent = False

    def once(self) -> SyncResult:
        """Synchronise once. Raises AgentError; DUPLICATE_AGENT is one of its codes, PAUSED another, and
        HOLD_STANDS where the final checkpoint of a cutover has to stay the newest."""
        try:
            self._keeper.require_none()
            polled = self._greet(GREETING_ATTEMPTS)
            self._hear(polled)
            self._halt.check()
            result = self._sync(polled)
            self._report()
        finally:
            self._synchroniser.close(keep=False)
            self._release()
        return result

    def forever(self) -> None:
        """Until the stop; the kernel goes on recording writes for the next daemon.

        Raises Denied or LinkRefused, for which waiting is no cure.
        """
        try:
            self._keeper.open()
            self._reporter.open()
            self._serve()
        except Stopped:
            self._console.note("stopping")
        finally:
            self._keeper.close()
            self._reporter.close()
            self._preflights.end()
            self._verifications.close()
            self._synchroniser.close(keep=True)
            self._release()

    def _greet(self, attempts: int = POLL_ATTEMPTS) -> Polled:
        return self._poll("idle", 0, attempts, self._inventory())

    def _poll(self, state: str, wait: int, attempts: int, inventory: Inventory | None = None) -> Polled:
        status = self._board.status()
        poll = Poll(self._instance, state, wait, inventory, status, self._keeper.proof)
        return self._service.poll(poll, attempts)

    def _serve(self) -> None:
        polled = self._until_good(self._greet)
        while True:
            self._halt.heed_stop()
            self._obey(polled.orders)
            self._verifications.follow(polled.orders.verification)
            self._keeper.hear(polled.orders.hold)
            if not self._halt.is_set and self._keeper.begin_final():
                self._preflights.settle()
                self._finish(polled)
            elif self._is_due(polled):
                self._preflights.settle()
                self._sync_or_fail(polled)
            elif self._board.doing == "starting":
                self._board.activity("following")
            self._preflights.see(polled.orders.preflight)
            wait = self._wait(polled)
            polled = self._until_good(lambda: self._poll("idle", wait, POLL_ATTEMPTS))  # noqa: B023 (called here)
            if self._was_absent:
                self._schedule.link_is_back()

    def _obey(self, orders: Orders) -> None:
        """Rest, or stop resting. Raises Stopped."""
        if orders.goal != RUN:
            self._rest(orders.goal)
        elif self._halt.is_set:
            self._halt.clear()
            self._board.activity("starting")
            self._console.note("replication is resumed")
            self._schedule.begin_now()

    def _rest(self, goal: str) -> None:
        if self._board.doing != "resting":
            self._console.note(f"replication rests: the service's order is {goal}")
        self._halt.set()
        self._board.activity("resting", detail=f"by order of the service: {goal}")
        self._synchroniser.rest(tracking=goal == PAUSE)

    def _is_due(self, polled: Polled) -> bool:
        if self._halt.is_set or self._keeper.pauses_passes:
            return False
        is_asked = polled.command == "sync" or self._schedule.is_new_rescan(polled.orders.rescan)
        is_asked = is_asked or self._synchroniser.is_wanted
        return is_asked or self._schedule.is_due(polled.sync_interval_seconds)

    def _wait(self, polled: Polled) -> int:
        """Seconds of the next long poll."""
        longest = min(LONGEST_WAIT, max(1, polled.heartbeat_seconds))
        if not self._halt.is_set and self._keeper.begin_final():
            return 1
        is_resting = self._halt.is_set or self._keeper.pauses_passes
        due = None if is_resting else self._schedule.due_in(polled.sync_interval_seconds)
        return longest if due is None else int(max(1.0, min(float(longest), due)))

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
                self._service.link.pause(failures, asked_pause(error))
            else:
                self._was_absent = failures > 0
                return polled

    def _sync_or_fail(self, polled: Polled) -> None:
        """Synchronise; a failure is shown on the board, and the next try comes after a pause."""
        self._schedule.begins(polled.orders.rescan)
        try:
            result = self._sync(polled)
        except Stopped:
            raise
        except Paused as error:
            self._console.note(f"the pass was broken off: {error}")
            self._schedule.broke_off()
        except AgentError as error:
            self._console.note(f"the synchronisation failed: {error}")
            self._board.activity("failing", reason_of(error), f"{error.code}: {error}")
            self._schedule.failed(is_link=isinstance(error, LinkError), at_least=asked_pause(error))
        else:
            self._schedule.succeeded(result.whole_seconds)

    def _finish(self, polled: Polled) -> None:
        """Make the final checkpoint of a cutover. For want of the service it is tried again, until the hold
        ends; any other failure is the end of it."""
        try:
            result = self._sync(replace(polled, orders=replace(polled.orders, rescan="")), is_final=True)
        except Stopped:
            raise
        except (Paused, LinkError) as error:
            self._console.note(f"the final checkpoint was not made yet: {error}")
        except AgentError as error:
            self._console.note(f"the final checkpoint cannot be made: {error}")
            self._keeper.final_failed(error)
        else:
            self._keeper.final_made(result)

    def _sync(self, polled: Polled, *, is_final: bool = False) -> SyncResult:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            with Heartbeat(self._beat, self._hear, polled.heartbeat_seconds, self._console.note):
                result = self._synchroniser.run(polled.orders.rescan, is_final=is_final)
        except AgentError as error:
            self._keep(LastPass(now, error=str(error)))
            raise
        self._board.activity("following", result.reason, result.detail)
        self._console.summary(result)
        self._keep(
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

    def _keep(self, last: LastPass) -> None:
        """For `status` alone: a disk without room for it changes nothing about what came of the pass."""
        try:
            self._state.save_last_pass(last)
        except StateError as error:
            self._console.note(str(error))

    def _report(self) -> None:
        """A last heartbeat: how the disks stand is known to the service after the agent is gone, too."""
        try:
            self._beat()
        except AgentError as error:
            self._console.note(f"the last heartbeat failed: {error}")

    def _beat(self) -> Polled:
        return self._poll("syncing", 0, attempts=1)

    def _hear(self, polled: Polled) -> None:
        """Orders that arrive while a pass runs; what they do not stop is obeyed after it."""
        self._verifications.follow(polled.orders.verification)
        self._keeper.hear(polled.orders.hold)
        if polled.orders.goal != RUN:
            self._halt.set()

    def _release(self) -> None:
        """Let the lease go; where that fails, it ends by itself after a while."""
        self._service.link.close()  # a stop may have shut down what was kept open
        try:
            self._service.release(Release(self._instance))
        except AgentError as error:
            self._console.note(f"the lease was not released and will run out: {error}")
        self._service.link.close()
