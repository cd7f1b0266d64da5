"""One trace instance from its beginning or adoption to its end: buffers, books, disks, and the search for
gaps.

Not for several threads at once.
"""

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Self

from app.agent.daemon.errors import TrackingError
from app.agent.daemon.tracking.disks import TrackedDisk
from app.agent.daemon.tracking.instance import Instance
from app.agent.daemon.tracking.intake import Intake, Sieve
from app.agent.daemon.tracking.ledger import Ledger
from app.agent.daemon.tracking.record import TrackerRecord, boot_id
from app.agent.daemon.tracking.roster import Roster, record_path

_CHECK_SECONDS: Final = 1.0
"""Between two looks at counters and settings while the watch takes events in."""


def ledger_path(run: Path) -> Path:
    """Where the ledger lies in a run folder."""
    return run / "tracker.ledger"


class Session:
    """Everything of a tracker but threads and locks. Raises TrackingError."""

    def __init__(self, run: Path, instance: Instance, intake: Intake, roster: Roster, stamp: str) -> None:
        self.roster = roster
        self._ledger_path = ledger_path(run)
        self._instance = instance
        self._intake = intake
        self._stamp = stamp
        self._devices: tuple[int, ...] = ()
        self._trouble = ""
        """What failed since the last settlement."""
        self._checked = 0.0

    @classmethod
    def begin(cls, run: Path, instance: Instance, buffer_kib: int, sieve: Sieve | None) -> Self:
        """Make the instance anew, without any disk."""
        record_path(run).unlink(missing_ok=True)
        instance.remove()
        instance_id = secrets.token_hex(16)
        with contextlib.ExitStack() as undo:
            undo.callback(instance.remove)
            instance.create(buffer_kib)
            ledger = Ledger.begin(ledger_path(run), bytes.fromhex(instance_id), instance.page_format().size)
            intake = Intake(instance, ledger, sieve)
            undo.callback(intake.close)
            intake.open_cpus()
            instance.trace(())
            made = cls(run, instance, intake, Roster(run, instance_id), instance.stamp())
            undo.pop_all()
        return made

    @classmethod
    def adopt(cls, run: Path, instance: Instance, earlier: TrackerRecord, sieve: Sieve | None) -> Self | str:
        """Go on with the instance of an earlier process, its disks and dirty sets; or say why not."""
        if earlier.boot_id != boot_id():
            return "the machine was started anew"
        if not instance.exists:
            return "the trace instance is gone"
        if not instance.is_of(earlier.stamp):
            return "the trace instance was made by another program"
        instance_id = bytes.fromhex(earlier.instance_id)
        ledger = Ledger.adopt(ledger_path(run), instance_id, instance.page_format().size)
        if ledger is None:
            return "the tracker's ledger is missing or damaged"
        intake, roster = Intake(instance, ledger, sieve), Roster(run, earlier.instance_id)
        made = cls(run, instance, intake, roster, earlier.stamp)
        try:
            made._go_on(earlier)
        except BaseException:
            made.close(forget=False)
            raise
        return made

    def _go_on(self, earlier: TrackerRecord) -> None:
        self.roster.adopt(earlier)
        self._route()
        self._do(self._intake.open_cpus)
        self._do(self._intake.recover)
        self.drain()

    def change(self, disks: Sequence[TrackedDisk], reason: str) -> None:
        """Track these disks and no others; `reason` is the gap of those that are new."""
        self.roster.drop_others(disks)
        self._route()
        self.roster.add(disks, reason)
        self._route()
        self._instance.narrow(self._devices)
        self.roster.save(self._stamp)

    def _route(self) -> None:
        routes = self.roster.routes()
        self._intake.route(routes)
        self._devices = tuple(sorted(routes))

    def drain(self) -> None:
        """Take in every write that was complete before the call, and look for gaps."""
        self._do(self._intake.open_cpus)
        self._do(self._intake.take_until_now)
        self._check()

    def look(self) -> int:
        """Take in some of what is there, look for gaps now and then; the number of events. Raises nothing."""
        before = self._intake.taken
        self._do(self._intake.open_cpus)
        self._do(self._intake.take_some)
        if self._trouble or self._intake.missed or time.monotonic() - self._checked >= _CHECK_SECONDS:
            self._do(self._check)
        return self._intake.taken - before

    def restart(self, key: str) -> None:
        """Empty a disk's dirty sets and end its gap."""
        self.drain()
        self.roster.restart(key)
        self.roster.save(self._stamp)

    def descriptors(self) -> list[int]:
        """What to poll for buffers that fill."""
        return self._intake.descriptors

    def close(self, forget: bool) -> None:
        """Let go of everything; with `forget` also remove instance, dirty sets and books."""
        self._intake.close()
        self.roster.close(forget)
        if forget:
            self._instance.remove()
            self._ledger_path.unlink(missing_ok=True)

    # -- gaps

    def _do(self, work: Callable[[], None]) -> None:
        """Do it; what fails makes a gap at the next check, for its events are not accounted for."""
        try:
            work()
        except (TrackingError, OSError) as error:
            self._trouble = self._trouble or f"tracking failed: {error}"

    def _check(self) -> None:
        """Look for gaps; keep them, set right what was changed, and only then settle the books."""
        self._checked = time.monotonic()
        if self.roster.strangers():
            self.roster.save(self._stamp)
        reason = self._loss()
        if not reason:
            return
        self.roster.note_gap(reason)
        self.roster.save(self._stamp)
        self._route()
        self._instance.trace(self._devices)
        self._stamp = self._instance.stamp()
        self._intake.settle()
        self._trouble = ""
        self.roster.save(self._stamp)

    def _loss(self) -> str:
        if self._trouble:
            return self._trouble
        if tuple(sorted(self.roster.routes())) != self._devices:
            return "the partitions of a disk changed"
        if self._instance.stamp() != self._stamp:
            return "another program changed the trace instance"
        return self._instance.fault(self._devices) or self._intake.gap()
