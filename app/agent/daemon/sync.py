"""One synchronisation: open a session, pass over the disks, commit; again from the start when fenced.

A disk that is not followed is read as a whole. The first pass over a disk that is followed from now on reads
it as a whole too, and another one comes at once, over what was written meanwhile, which ends with a cut. What
is known of the head lies in the follower; everything else the service's `have` says.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from app.agent.daemon.capture.activity import FUZZY, worst
from app.agent.daemon.disk.selection import SourceDisk, close_disks, open_disks
from app.agent.daemon.disk.standing import OnDisks, what_stands_on
from app.agent.daemon.errors import AgentError, FreezeError, Refusal, RescanNeeded, TrackingError
from app.agent.daemon.following.beginning import Beginning, Passes
from app.agent.daemon.following.capture import FollowedCapture
from app.agent.daemon.following.cut import Cut
from app.agent.daemon.following.delta import Delta, Outcome
from app.agent.daemon.following.follower import Plan
from app.agent.daemon.following.owner import OwnerHooks
from app.agent.daemon.following.resending import Resending
from app.agent.daemon.following.rounds import Rounds
from app.agent.daemon.freezer.client import Freezer
from app.agent.daemon.host import Host
from app.agent.daemon.pipeline.base import LeafCache
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.service import Service, Session
from app.agent.daemon.stopping import Stop
from app.wire.messages import Commit, Committed, Counters, Open

ATTEMPTS: Final = 5
"""How often a synchronisation starts anew when its commit is fenced or lacks something."""
JITTER: Final = timedelta(seconds=1)
"""A clock that is corrected by less is not worth a word."""
MORE: Final = 3
"""How many passes over writes may follow a pass over whole disks."""

_AGAIN: Final = frozenset(
    {"FENCED", "BASE_MISMATCH", "MISSING_CHUNKS", "MISSING_LEAVES", "SESSION_NOT_FOUND"}
)


@dataclass(frozen=True)
class DiskResult:
    """One disk of a committed checkpoint; `root` in hex, ranges and sizes in bytes."""

    disk_id: str
    path: str
    size: int
    root: str
    label: str
    unreadable: int
    counters: Counters
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SyncResult:
    """A committed checkpoint. `frozen_seconds` is how long the source stood still for it, `reason` (a code)
    and `detail` say why it is not as it should be, `is_catching_up` that another one is to follow at once."""

    checkpoint_id: str
    number: int
    label: str
    seconds: float
    stored_bytes: int
    disks: tuple[DiskResult, ...]
    frozen_seconds: float = 0.0
    rounds: int = 0
    reason: str = ""
    detail: str = ""
    is_catching_up: bool = False
    whole_seconds: float = 0.0
    """How long disks were read whose writes are not followed: the next pass reads them as a whole again."""

    @property
    def counters(self) -> Counters:
        """The sum over the disks."""
        return Counters.total([disk.counters for disk in self.disks])


class Observer:
    """Told of what goes on; the console is one."""

    def pass_begins(self, disks: tuple[DiskPass, ...]) -> None:
        """A pass over these disks begins; their tallies grow from now on."""

    def pass_ends(self) -> None:
        """The pass is over, well or not."""

    def begins_anew(self, reason: str) -> None:
        """The attempt was in vain for this reason; another one follows."""

    def committed(self, result: SyncResult) -> None:
        """A checkpoint was made that another one follows at once."""

    def note(self, text: str) -> None:
        """Something that the operator may want to know."""


class Synchroniser:
    """Brings the replica up to date. Close it at the end."""

    def __init__(
        self,
        service: Service,
        instance: str,
        named: tuple[str, ...],
        stop: Stop,
        observer: Observer,
        host: Host,
    ) -> None:
        """`named` are the disks as they were named at enrolment; `stop` ends a pass."""
        self._service = service
        self._instance = instance
        self._named = named
        self._stop = stop
        self._observer = observer
        self._follower = host.follower
        self._hooks = OwnerHooks(host.hooks, observer.note, host.pausing)
        self._resending = Resending()
        self._leaves = LeafCache()
        self._told_clock: datetime | None = None
        self._may_be_sparse = True
        self._freezer = host.freezer
        self._gate = host.gate
        self._board = host.board
        self._budget = host.budget
        self._board.backlog_from(lambda: host.follower.backlog)
        self._board.written_from(lambda: host.follower.written_bytes)

    @property
    def is_wanted(self) -> bool:
        """Whether a synchronisation is due whatever the interval: a replica was found to differ."""
        return self._follower.has_doubts

    def run(self, order: str = "", *, is_final: bool = False) -> SyncResult:
        """Synchronise once; `order` names an ordered rescan, which the commit ends. The final checkpoint of a
        cutover has no sparse cut: this end computes its new ids from chunks that it reads.

        Raises DiskError, LinkError, Refusal, Denied, Stopped, Paused.
        """
        self._may_be_sparse = not is_final
        result = self._committed(order)
        for _ in range(MORE):
            if not result.is_catching_up:
                break
            self._observer.committed(result)
            result = self._committed("")
        return result

    def rest(self, *, tracking: bool) -> None:
        """No passes for now; writes go on being tracked, or not."""
        if tracking:
            return
        try:
            self._follower.close(keep=False)
        except TrackingError as error:
            self._observer.note(str(error))

    def close(self, *, keep: bool) -> None:
        """End the freezer; tracking goes on without this process if it is to be kept."""
        if self._freezer is not None:
            self._freezer.close()
        self._follower.close(keep=keep)

    def _committed(self, order: str) -> SyncResult:
        doubted: set[bytes] = set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(doubted, order)
            except RescanNeeded as need:
                self._follower.doubt(need)
                self._observer.begins_anew(str(need))
                if attempt == ATTEMPTS:
                    raise
            except Refusal as refusal:
                if refusal.code not in _AGAIN or attempt == ATTEMPTS:
                    raise
                doubted |= {bytes.fromhex(text) for text in refusal.chunk_ids}
                self._observer.begins_anew(str(refusal))
                self._service.link.pause(attempt)
        raise AssertionError("unreachable")

    def _attempt(self, doubted: set[bytes], order: str) -> SyncResult:
        started = time.monotonic()
        with _opened(self._named) as disks:
            followed = self._follower.follow(disks)
            wanted = Open(self._instance, self._follower.identity, tuple(disk.disk for disk in disks), order)
            session = self._service.open(wanted)
            source_time = datetime.now(UTC)  # later than all that sessions before this one committed
            session.doubted |= doubted
            passes = self._passes(session, disks, followed, order)
            runner = PassRunner(session, tuple(passes.every), self._stop, self._gate)
            self._tell(session, passes)
            outcome = self._pass_over(passes, runner, disks)
            if outcome.cut.is_complete and outcome.cut.source_time and not passes.wholes:
                source_time = outcome.cut.source_time
            source_time = self._not_before_head(session, source_time)
            committed = self._commit(session, passes, outcome, source_time, order)
            seconds = time.monotonic() - started
            result = _result(committed, passes, outcome, seconds, runner.stored_bytes)
            return replace(result, reason=self._reason(passes, outcome))

    def _not_before_head(self, session: Session, time: datetime) -> datetime:
        """The time that the checkpoint states: the head's where this host's clock was set back behind it."""
        head = session.head_time
        if head is None or time >= head:
            self._told_clock = None
            return time
        if head != self._told_clock and head - time > JITTER:
            self._observer.note(
                f"this host's clock is behind its newest checkpoint: {head} is stated until then"
            )
        self._told_clock = head
        return head

    def _passes(
        self, session: Session, disks: tuple[SourceDisk, ...], followed: frozenset[str], order: str
    ) -> Passes:
        beginning = Beginning(session, self._follower, self._resending, self._leaves, order)
        standing = what_stands_on(disks) if followed else OnDisks()
        return beginning.passes(disks, followed, standing)

    def _pass_over(self, passes: Passes, runner: PassRunner, disks: tuple[SourceDisk, ...]) -> Outcome:
        self._board.watch(tuple(passes.every))
        self._observer.pass_begins(tuple(passes.every))
        try:
            outcome = self._outcome(passes, runner, disks)
            runner.settle()
        finally:
            self._observer.pass_ends()
            self._board.unwatch()
        return outcome

    def _tell(self, session: Session, passes: Passes) -> None:
        """What is done now, and why: for the service's operators."""
        for disk in passes.every:
            method, reason = self._follower.method_of(disk.base.key)
            plan = passes.plans.get(disk.base.key, Plan(None))
            self._board.tracker_note(disk.base.key, method, plan.detail or reason)
        if not passes.wholes:
            self._board.activity("catching-up")
            return
        code, detail = passes.reason
        self._board.activity("rescanning" if session.opened.head else "copying", code, detail)

    def _outcome(self, passes: Passes, runner: PassRunner, disks: tuple[SourceDisk, ...]) -> Outcome:
        self._hooks.failure = ""
        wholes = [task for disk in passes.wholes for task in disk.tasks]
        if not passes.partial:
            runner.do(wholes)
            return Outcome(Cut(), 0)
        rounds = Rounds(self._follower.tracking, passes.partial)
        if passes.has_followed_whole:
            rounds.keep_no_leaves()
            runner.do(rounds.take_all(passes.extra) + wholes)
            return Outcome(Cut(), 0)
        look = partial(what_stands_on, disks)
        freezer, may_be_sparse = self._ready_freezer(), self._may_be_sparse
        delta = Delta(rounds, runner, freezer, look, self, self._budget, may_be_sparse=may_be_sparse)
        outcome = delta.run(passes.extra, wholes)
        self._board.froze(outcome.cut.seconds, outcome.read_bytes)
        return outcome

    def before(self) -> None:
        """The cut comes now; see `Hooks`."""
        self._board.activity("cutting")
        self._hooks.before()

    def after(self) -> None:
        """The cut is over."""
        self._hooks.after()
        self._board.activity("catching-up")

    def _ready_freezer(self) -> Freezer | None:
        """The freezer with its process running; None where it cannot be started: then nothing is frozen."""
        if self._freezer is None:
            return None
        try:
            if not self._freezer.is_running:
                for note in self._freezer.start():
                    self._observer.note(note)
        except FreezeError as error:
            self._observer.note(str(error))
            return None
        return self._freezer

    def _reason(self, passes: Passes, outcome: Outcome) -> str:
        """The code of what is not as it should be."""
        if outcome.cut.failure:
            return "FREEZE_FAILED"
        if passes.partial and not outcome.cut.is_complete and not passes.has_followed_whole:
            return "NOT_CONVERGING"
        return "HOOK_FAILED" if self._hooks.failure else ""

    def _commit(
        self, session: Session, passes: Passes, outcome: Outcome, source_time: datetime, order: str
    ) -> Committed:
        """Commit what was read; `source_time` is the moment that the checkpoint shows at the earliest: writes
        since then may be missing."""
        message = Commit(
            generation=session.opened.generation,
            base=session.opened.head,
            source_time=source_time.isoformat(),
            tracker=self._follower.identity,
            method=passes.method,
            label=worst(disk.label for disk in passes.every),
            disks=tuple(disk.commit() for disk in passes.every),
            freeze_ms=round(outcome.cut.seconds * 1000),
            rounds=outcome.rounds,
            rescan=order,
        )
        self._follower.ask(passes.every)
        committed = session.commit(message)
        _require_same_roots(committed, passes.every)
        self._follower.committed(passes.every)
        for disk in passes.every:
            disk.keep_leaves()
        return committed


@contextlib.contextmanager
def _opened(named: tuple[str, ...]) -> Iterator[tuple[SourceDisk, ...]]:
    disks = open_disks(named)
    try:
        yield disks
    finally:
        close_disks(disks)


def _require_same_roots(committed: Committed, passes: list[DiskPass]) -> None:
    """The service computed the roots by itself: they must be ours."""
    theirs = {disk.disk_id: disk.root for disk in committed.disks}
    for disk in passes:
        if theirs.get(disk.base.disk_id) != disk.root.hash.hex():
            raise AgentError(
                f"the service committed another root for {disk.reader.path} than the agent derived",
                code="ROOT_MISMATCH",
                remedy="do not trust this checkpoint; run again and report the failure",
            )


def _result(
    committed: Committed, passes: Passes, outcome: Outcome, seconds: float, stored_bytes: int
) -> SyncResult:
    disks = tuple(_disk_result(disk) for disk in passes.every)
    label = worst(disk.label for disk in passes.every)
    is_unfinished = bool(passes.partial) and not outcome.cut.is_complete
    return SyncResult(
        committed.checkpoint_id,
        committed.number,
        label,
        seconds,
        stored_bytes,
        disks,
        frozen_seconds=outcome.cut.seconds,
        rounds=outcome.rounds,
        detail=outcome.detail,
        whole_seconds=sum(
            disk.reader.busy_seconds for disk in passes.every if not isinstance(disk.capture, FollowedCapture)
        ),
        is_catching_up=label == FUZZY and (passes.has_followed_whole or is_unfinished),
    )


def _disk_result(disk: DiskPass) -> DiskResult:
    said = disk.commit()
    return DiskResult(
        disk_id=said.disk_id,
        path=str(disk.reader.path),
        size=said.size,
        root=said.root,
        label=said.label,
        unreadable=sum(length for _, length in said.unreadable),
        counters=said.counters,
        notes=disk.capture.notes,
    )
