"""One synchronisation: open a session, pass over all disks, commit; again from the start when fenced.

Nothing is remembered between attempts: the service's `have` says what it holds already.
"""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from app.agent.daemon.capture.activity import FUZZY, QUIET
from app.agent.daemon.capture.choice import choose
from app.agent.daemon.disk.selection import SourceDisk, close_disks, open_disks
from app.agent.daemon.errors import AgentError, LinkError, Refusal
from app.agent.daemon.pipeline.disk_pass import DiskPass
from app.agent.daemon.pipeline.run import PassRunner
from app.agent.daemon.service import Service, Session
from app.agent.daemon.status import Board
from app.agent.daemon.stopping import Stop
from app.wire.messages import Commit, Committed, Counters, DiskBase, Open

ATTEMPTS: Final = 5
"""How often a synchronisation starts anew when its commit is fenced or lacks something."""

_AGAIN: Final = frozenset(
    {"FENCED", "BASE_MISMATCH", "MISSING_CHUNKS", "MISSING_LEAVES", "SESSION_NOT_FOUND"}
)


@dataclass(frozen=True)
class DiskResult:
    """One disk of a committed checkpoint; `root` in hex, ranges and sizes in bytes."""

    path: str
    size: int
    root: str
    label: str
    unreadable: int
    counters: Counters
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SyncResult:
    """A committed checkpoint."""

    checkpoint_id: str
    number: int
    label: str
    seconds: float
    stored_bytes: int
    disks: tuple[DiskResult, ...]

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


class Synchroniser:
    """Brings the replica up to date."""

    def __init__(
        self,
        service: Service,
        instance: str,
        named: tuple[str, ...],
        stop: Stop,
        observer: Observer,
        board: Board | None = None,
    ) -> None:
        self._service = service
        self._instance = instance
        self._named = named
        self._stop = stop
        self._observer = observer
        self._board = board or Board()
        self._rescan = ""

    def rest(self, *, tracking: bool) -> None:
        """No passes for now; writes go on being tracked, or not. Rescans track nothing in between."""

    def run(self, rescan: str = "") -> SyncResult:
        """Synchronise once; `rescan` is the id of an ordered rescan, which the commit ends.

        Raises DiskError, LinkError, Refusal, Denied, Stopped, Paused.
        """
        self._rescan = rescan
        doubted: set[bytes] = set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(doubted)
            except Refusal as refusal:
                if refusal.code not in _AGAIN or attempt == ATTEMPTS:
                    raise
                doubted |= {bytes.fromhex(text) for text in refusal.chunk_ids}
                self._observer.begins_anew(str(refusal))
                self._service.link.pause(attempt)
        raise AssertionError("unreachable")

    def _attempt(self, doubted: set[bytes]) -> SyncResult:
        started = time.monotonic()
        with _opened(self._named) as disks:
            told = tuple(disk.disk for disk in disks)
            session = self._service.open(Open(self._instance, "", told, self._rescan))
            source_time = datetime.now(UTC)  # later than all that sessions before this one committed
            session.doubted |= doubted
            passes = self._passes(disks, session)
            runner = PassRunner(session, passes, self._stop)
            self._begin(session, passes)
            try:
                runner.run()
            finally:
                self._observer.pass_ends()
                self._board.unwatch()
            committed = self._commit(session, passes, source_time)
            return _result(committed, passes, time.monotonic() - started, runner.stored_bytes)

    def _begin(self, session: Session, passes: tuple[DiskPass, ...]) -> None:
        """Tell what is done, and why."""
        name = "rescanning" if session.opened.head else "copying"
        self._board.activity(name, "RESCAN_ORDERED" if self._rescan else "")
        self._board.watch(passes)
        self._observer.pass_begins(passes)

    def _passes(self, disks: tuple[SourceDisk, ...], session: Session) -> tuple[DiskPass, ...]:
        bases = {base.key: base for base in session.opened.disks}
        return tuple(
            DiskPass(
                number, disk.reader, _base(bases, disk), choose(disk.reader).begin(disk.reader, disk.layout)
            )
            for number, disk in enumerate(disks)
        )

    def _commit(self, session: Session, passes: tuple[DiskPass, ...], source_time: datetime) -> Committed:
        """Commit what was read; `source_time` is when the pass began: writes since then may be missing."""
        committed = session.commit(
            Commit(
                generation=session.opened.generation,
                base=session.opened.head,
                source_time=source_time.isoformat(),
                tracker="",
                method=",".join(sorted({choose(disk.reader).name for disk in passes})),
                label=QUIET if all(disk.label == QUIET for disk in passes) else FUZZY,
                disks=tuple(disk.commit() for disk in passes),
                rescan=self._rescan,
            )
        )
        _require_same_roots(committed, passes)
        return committed


@contextlib.contextmanager
def _opened(named: tuple[str, ...]) -> Iterator[tuple[SourceDisk, ...]]:
    disks = open_disks(named)
    try:
        yield disks
    finally:
        close_disks(disks)


def _base(bases: dict[str, DiskBase], disk: SourceDisk) -> DiskBase:
    try:
        return bases[disk.disk.key]
    except KeyError as error:
        raise LinkError(
            f"the service opened a session without the disk {disk.disk.path}", code="BAD_ANSWER"
        ) from error


def _require_same_roots(committed: Committed, passes: tuple[DiskPass, ...]) -> None:
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
    committed: Committed, passes: tuple[DiskPass, ...], seconds: float, stored_bytes: int
) -> SyncResult:
    disks = tuple(_disk_result(disk) for disk in passes)
    label = QUIET if all(disk.label == QUIET for disk in passes) else FUZZY
    return SyncResult(committed.checkpoint_id, committed.number, label, seconds, stored_bytes, disks)


def _disk_result(disk: DiskPass) -> DiskResult:
    said = disk.commit()
    return DiskResult(
        path=str(disk.reader.path),
        size=said.size,
        root=said.root,
        label=said.label,
        unreadable=sum(length for _, length in said.unreadable),
        counters=said.counters,
        notes=disk.capture.notes,
    )
