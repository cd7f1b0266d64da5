"""Keeps the host's services as the service's orders and the dead-man want them, in a thread of its own.

Neither a pass that takes hours nor a service that is away may keep services from being given back, so nothing
here waits for either: orders are handed in by whoever polls, reports are fetched by whoever sends them, and
only the final pass is left to the loop that makes passes.

One lock guards record and order; the journal is written under it, hooks are run outside of it.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Final

from app.agent.daemon.errors import AgentError, StateError
from app.agent.daemon.hold.course import begin_final, decide, pauses_passes, renewed
from app.agent.daemon.hold.journal import Journal
from app.agent.daemon.hold.moment import Moment, now
from app.agent.daemon.hold.outcomes import after_final, after_keep, after_start, after_stop, failure_of
from app.agent.daemon.hold.ownservices import OwnServices
from app.agent.daemon.hold.record import Record, Stage
from app.agent.daemon.hold.telling import Told, told_of
from app.agent.daemon.hooks import HookResult, Phase
from app.agent.daemon.sync import SyncResult
from app.wire.hold import PROOF_BYTES, HoldOrder, HoldPhase

START_TRIES: Final = 3
START_PAUSE_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0
"""Until a journal that could not be written is written again."""
JOIN_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 30.0
_PHASES: Final = frozenset(HoldPhase)


class Keeper:
    """The hold of this host. Call `open` once, `close` at the end. Safe to use from any thread."""

    def __init__(
        self,
        journal: Journal,
        services: OwnServices,
        note: Callable[[str], None],
        on_end: Callable[[], None],
        moment: Callable[[], Moment] = now,
    ) -> None:
        """`on_end` is called when the thread ends, for whatever reason: nobody watches the services then."""
        self._on_end = on_end
        self._journal = journal
        self._services = services
        self._note = note
        self._moment = moment
        self._changed = threading.Condition()
        self._record: Record | None = None
        self._order: HoldOrder | None = None
        self._is_closed = False
        self._unwritten = ""
        self._thread = threading.Thread(target=self._keep, name="hold", daemon=True)

    def open(self) -> None:
        """Go on where the agent before this one was. Raises StateError where nobody can know where."""
        self._record = self._journal.read()
        self._thread.start()

    def require_none(self) -> None:
        """Raise StateError while a hold stands: its agent is the one that stays."""
        record = self._journal.read()
        if record is not None and not record.is_over:
            raise StateError(
                f"the services of this host are held for cutover {record.cutover} ({record.stage})",
                code="HOLD_STANDS",
                remedy="let the agent run without --once",
            )

    def close(self) -> None:
        """End: a hook that runs is broken off, and run again by the next agent."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(JOIN_SECONDS)

    def hear(self, order: HoldOrder | None) -> None:
        """The service's order, with each of its answers. One that is older than the newest is passed over;
        none changes nothing about a hold that is not over."""
        with self._changed:
            if order is None:
                self._order = None if self._record is None or self._record.is_over else self._order
                return
            if order.phase not in _PHASES:
                self._note(f"the order {order.phase!r} of a cutover is not understood: upgrade this agent")
                return
            if order.revision < self._newest:
                return
            self._order = order
            self._renew(order)
            self._changed.notify_all()

    @property
    def _newest(self) -> int:
        return max(self._order.revision if self._order else 0, self._record.revision if self._record else 0)

    def _renew(self, order: HoldOrder) -> None:
        record = self._record
        if record is None or (self._decided(record) or record).stage != record.stage:
            return  # what is due now is not put off: an order that comes too late is too late
        again = renewed(record, order, self._moment())
        if again is record:
            return
        try:
            self._journal.renew(again)
        except StateError as error:
            self._note(f"the hold is not renewed: {error}")
            return
        self._record = again

    @property
    def pauses_passes(self) -> bool:
        """Whether no pass may be made, so that the final checkpoint stays the head."""
        with self._changed:
            return pauses_passes(self._record, self._order)

    @property
    def stands(self) -> bool:
        """Whether services are held, or are on their way."""
        with self._changed:
            return self._record is not None and not self._record.is_over

    @property
    def proof(self) -> str | None:
        """What tells this host from a copy of it since it was held; None before."""
        with self._changed:
            return (self._record.proof or None) if self._record is not None else None

    def begin_final(self) -> bool:
        """Whether the final pass is to be made now; call `final_made` or `final_failed` after it."""
        with self._changed:
            begun = begin_final(self._record, self._order)
            return begun is not None and (begun == self._record or self._write(begun))

    def final_made(self, made: SyncResult) -> None:
        """The final pass made this checkpoint; it counts if the hold still stands."""
        self._end_final(lambda record: after_final(record, made))

    def final_failed(self, error: AgentError) -> None:
        """The final pass failed for good."""
        self._end_final(lambda record: failure_of(record, error))

    def _end_final(self, outcome: Callable[[Record], Record]) -> None:
        with self._changed:
            if self._record is not None and self._record.stage == Stage.FINISHING:
                self._write(outcome(self._record))

    def news(self, told: Told | None, seconds: float) -> Told | None:
        """What is to be told, as soon as it is other than `told`, or after so many seconds; None for nothing
        or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._telling(told) != told, seconds)
            return None if self._is_closed else self._telling(told)

    def _telling(self, told: Told | None) -> Told | None:
        """What is to be told; what was told before, while the journal does not say so yet."""
        return told if self._unwritten else told_of(self._record, self._order)

    @property
    def is_closed(self) -> bool:
        """Whether it was told to end."""
        return self._is_closed

    def _keep(self) -> None:
        try:
            self._go_on()
        finally:
            self._on_end()

    def _go_on(self) -> None:
        while not self._is_closed:
            record = self._advance()
            if record is None:
                self._rest(RETRY_SECONDS if self._unwritten else _LOOK_SECONDS)
            elif record.stage in (Stage.STOPPING, Stage.RESTOPPING):
                self._stop(record)
            elif record.stage == Stage.HOLDING:
                self._hold(record)
            else:
                self._start(record)

    def _advance(self) -> Record | None:
        """Take the step that is due; the record whose effect is to be done, if any."""
        with self._changed:
            decided = self._decided(self._record)
            is_due = decided != self._record or bool(self._unwritten)
            if decided is not None and is_due and not self._write(decided):
                return None
            return self._record if self._record is not None and self._record.stage in _EFFECTS else None

    def _decided(self, record: Record | None) -> Record | None:
        return decide(record, self._order, self._moment(), lambda: secrets.token_hex(PROOF_BYTES))

    def _write(self, record: Record) -> bool:
        """Write the journal, then believe it. To give services back does not wait for a journal that cannot
        be written: the one that is there leads to the same."""
        try:
            self._journal.write(record)
            self._unwritten = ""
        except StateError as error:
            if not self._unwritten:
                self._note(f"the hold is not written down: {error}")
            self._unwritten = str(error)
            if record.stage not in (Stage.STARTING, Stage.STARTED):
                return False
        if self._record is None or record.stage != self._record.stage:
            self._note(
                f"hold for cutover {record.cutover}: {record.stage}"
                + (record.detail and f", {record.detail}")
            )
        self._record = record
        self._changed.notify_all()
        return True

    def _rest(self, longest: float) -> None:
        with self._changed:
            if self._is_closed or (not self._unwritten and self._decided(self._record) != self._record):
                return
            seconds = longest
            if self._record is not None and self._record.is_loose:
                left = (self._record.deadline_ms - self._moment().ms) / 1000
                seconds = min(longest, max(0.05, left))
            self._changed.wait(seconds)

    def _is_over(self, stage: str) -> bool:
        """Whether an effect of this stage is wanted no more."""
        with self._changed:
            decided = self._decided(self._record)
            return self._is_closed or decided is None or decided.stage != stage

    def _stop(self, record: Record) -> None:
        self._after(record, self._services.stop(lambda: self._is_over(record.stage)), after_stop)

    def _hold(self, record: Record) -> None:
        self._after(record, self._services.keep(lambda: self._is_over(record.stage)), after_keep)

    def _start(self, record: Record) -> None:
        stopped = [hook.name for hook in record.hooks if hook.phase == Phase.STOP_SERVICES]
        for attempt in range(1, START_TRIES + 1):
            results = self._services.start(stopped, lambda: self._is_closed)
            if attempt == START_TRIES or all(result.has_succeeded for result in results):
                break
            self._tell(results)
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, START_PAUSE_SECONDS)
        self._after(record, results, after_start)

    def _after(
        self,
        record: Record,
        results: Sequence[HookResult],
        outcome: Callable[[Record, Sequence[HookResult]], Record],
    ) -> None:
        """Write down what came of an effect, unless it was broken off."""
        self._tell(results)
        if self._is_over(record.stage):
            return
        with self._changed:
            assert self._record is not None, "a record is never taken away"
            if not self._write(outcome(self._record, results)):
                self._changed.wait(RETRY_SECONDS)

    def _tell(self, results: Sequence[HookResult]) -> None:
        for result in results:
            if not result.has_succeeded:
                self._note(f"{result}: {result.output[-1000:]}" if result.output else str(result))


_EFFECTS: Final = frozenset({Stage.STOPPING, Stage.RESTOPPING, Stage.HOLDING, Stage.STARTING})
