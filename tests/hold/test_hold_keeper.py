"""The keeper with real hooks and a real journal, in a time and a boot that the test chooses."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from app.agent.daemon.errors import AgentError, StateError
from app.agent.daemon.hold import keeper as module
from app.agent.daemon.hold.journal import Journal
from app.agent.daemon.hold.keeper import Keeper
from app.agent.daemon.hold.moment import Moment, now
from app.agent.daemon.hold.ownservices import OwnServices
from app.agent.daemon.hold.record import Record, Stage
from app.agent.daemon.sync import SyncResult
from app.wire.hold import HoldOrder, HoldPhase, HoldReport
from tests.e2e.deployment import until

P = HoldPhase
FINAL = SyncResult("chk-1", 7, "frozen", 1.0, 0, (), frozen_seconds=0.25)


@dataclass
class Clock:
    """The host's time."""

    moment: Moment = field(default_factory=lambda: Moment("boot-1", 0))

    def __call__(self) -> Moment:
        """Now."""
        return self.moment


class FullJournal(Journal):
    """A journal on a disk that may be full."""

    is_full = False

    def write(self, record: Record) -> None:
        """Write, if there is room."""
        if self.is_full:
            raise StateError("hold.json cannot be written: No space left on device")
        super().write(record)


@dataclass
class Rig:
    """A host; `started` agents follow one another."""

    folder: Path
    clock: Clock = field(default_factory=Clock)
    notes: list[str] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)

    def hook(self, body: str = "true", name: str = "10-app", mode: int = 0o755) -> None:
        """A hook that keeps for what it was run."""
        hooks = self.folder / "cutover.d"
        hooks.mkdir(exist_ok=True, mode=0o755)
        path = hooks / name
        path.write_text(f'#!/bin/sh\necho "$1" >> {self.folder}/calls\n{body}\n')
        path.chmod(mode)

    @property
    def calls(self) -> list[str]:
        """For what hooks were run."""
        path = self.folder / "calls"
        return path.read_text().split() if path.exists() else []

    @property
    def journal(self) -> FullJournal:
        """Where the hold is written down."""
        return FullJournal(self.folder / "state", self.folder / "run")

    @contextlib.contextmanager
    def agent(self, journal: Journal | None = None) -> Iterator[Keeper]:
        """An agent at work."""
        services = OwnServices(self.folder / "cutover.d", limit=20.0)
        keeper = Keeper(
            journal or self.journal, services, self.notes.append, lambda: self.ended.append(True), self.clock
        )
        keeper.open()
        try:
            yield keeper
        finally:
            keeper.close()

    def reboot(self) -> None:
        """The host starts anew."""
        self.clock.moment = Moment(self.clock.moment.boot + "+", 0)

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.clock.moment = replace(self.clock.moment, ms=self.clock.moment.ms + round(seconds * 1000))


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something holds."""
    until(condition, 60.0, "what the test waits for")


def order(phase: str, revision: int, cutover: str = "c1", seconds: int = 60) -> HoldOrder:
    """An order."""
    return HoldOrder(cutover, phase, seconds, revision)


def said(keeper: Keeper, is_it: Callable[[HoldReport], bool]) -> HoldReport:
    """What the agent says, when it says this."""

    def says() -> bool:
        told = keeper.news(None, 0.05)
        return told is not None and is_it(told.report)

    wait_for(says)
    told = keeper.news(None, 0)
    assert told is not None
    return told.report


def reaches(keeper: Keeper, phase: str) -> HoldReport:
    """What the agent says, when this is reached."""
    return said(keeper, lambda report: report.phase == phase)


def held(rig: Rig, keeper: Keeper) -> HoldReport:
    """Lead the agent to HELD."""
    keeper.hear(order(P.QUIESCED, 1))
    reaches(keeper, P.QUIESCED)
    keeper.hear(order(P.FINAL, 2))
    assert keeper.begin_final()
    keeper.final_made(FINAL)
    keeper.hear(order(P.HELD, 3))
    return reaches(keeper, P.HELD)


def test_time_alone_never_ends_what_is_held(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        report = held(rig, keeper)
        assert (report.checkpoint_id, report.frozen_ms, len(report.proof)) == ("chk-1", 250, 32)
        rig.later(10**6)
        assert keeper.pauses_passes
    with rig.agent() as keeper:
        rig.later(10**6)
        assert reaches(keeper, P.HELD) == report, "the next agent says the same"
        assert rig.calls == ["stop-services", "keep-stopped"]
        with pytest.raises(StateError, match="c1"):
            keeper.require_none()


def test_a_reboot_of_a_held_host_stops_its_services_again_before_anything_is_heard(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        proof = held(rig, keeper).proof
    rig.reboot()
    with rig.agent() as keeper:
        report = said(keeper, lambda report: report.services == "STOPPED")
        wait_for(lambda: len(rig.calls) == 4)
        assert rig.calls == ["stop-services", "keep-stopped"] * 2
        assert (report.phase, report.code, report.proof) == (P.HELD, "SOURCE_REBOOTED", proof)


def test_a_reboot_before_that_ends_the_hold(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        reaches(keeper, P.QUIESCED)
    rig.reboot()
    with rig.agent() as keeper:
        wait_for(lambda: not keeper.stands)
        keeper.hear(order(P.FINAL, 2))
        report = reaches(keeper, P.RELEASED)
        assert (report.code, report.cause) == ("SOURCE_RELEASED", "REBOOTED")
        assert not keeper.begin_final()


def test_each_answer_puts_the_end_off_also_for_the_next_agent(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        reaches(keeper, P.QUIESCED)
        rig.later(50)
        keeper.hear(order(P.QUIESCED, 1))
    rig.later(50)
    with rig.agent() as keeper:
        assert reaches(keeper, P.QUIESCED)
        rig.later(9)
        assert keeper.stands
        rig.later(2)
        keeper.hear(None)
        keeper.hear(order(P.QUIESCED, 1))
        assert reaches(keeper, P.RELEASED).cause == "EXPIRED", "an order that comes too late is too late"
        assert rig.calls == ["stop-services", "start-services"]


def test_an_older_order_is_passed_over(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        held(rig, keeper)
        keeper.hear(order(P.RELEASED, 9))
        reaches(keeper, P.RELEASED)
        keeper.hear(order(P.QUIESCED, 1))
        keeper.hear(order(P.QUIESCED, 8, "c0"))
        assert reaches(keeper, P.RELEASED).code == ""
        assert not keeper.pauses_passes
    assert rig.calls == ["stop-services", "keep-stopped", "start-services"]


def test_nothing_is_stopped_that_cannot_be_written_down(rig: Rig) -> None:
    rig.hook()
    journal = rig.journal
    journal.is_full = True
    with rig.agent(journal) as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        wait_for(lambda: any("not written down" in note for note in rig.notes))
        assert rig.calls == []
        journal.is_full = False
        reaches(keeper, P.QUIESCED)


def test_services_are_given_back_on_a_full_disk_and_that_is_told_when_it_is_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    rig.hook()
    journal = rig.journal
    with rig.agent(journal) as keeper:
        held(rig, keeper)
        journal.is_full = True
        keeper.hear(order(P.RELEASED, 9))
        wait_for(lambda: rig.calls[-1] == "start-services" and not keeper.stands)
        assert keeper.news(None, 0.2) is None
        journal.is_full = False
        reaches(keeper, P.RELEASED)
    written = rig.journal.read()
    assert written is not None
    assert written.stage == Stage.STARTED


def test_a_hook_that_anybody_could_have_written_is_not_run_and_counts_as_failed(rig: Rig) -> None:
    rig.hook(mode=0o777)
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        report = said(keeper, lambda report: bool(report.code))
        assert (report.phase, report.services, report.code) == ("", "FAILED", "HOOK_FAILED")
        assert "can be written by others" in report.detail
    assert rig.calls == []


def test_what_does_not_start_is_tried_again_and_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "START_PAUSE_SECONDS", 0.05)
    rig.hook('[ "$1" != start-services ] || exit 4')
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        reaches(keeper, P.QUIESCED)
        keeper.hear(order(P.RELEASED, 2))
        report = reaches(keeper, P.RELEASED)
        assert (report.services, report.code) == ("NOT_STARTED", "HOOK_FAILED")
    assert rig.calls == ["stop-services", *["start-services"] * 3]


def test_hooks_stop_in_the_order_of_their_names_and_start_in_the_reverse(rig: Rig) -> None:
    for name in ("10-app", "90-database"):
        rig.hook(f"echo {name} >> {rig.folder}/calls", name)
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        reaches(keeper, P.QUIESCED)
        (rig.folder / "cutover.d" / "20-gone").touch()
        keeper.hear(order(P.RELEASED, 2))
        reaches(keeper, P.RELEASED)
    stop, start = rig.calls[:4], rig.calls[4:]
    assert stop == ["stop-services", "10-app", "stop-services", "90-database"]
    assert start == ["start-services", "90-database", "start-services", "10-app"]


def test_a_final_pass_that_ends_after_the_release_does_not_count(rig: Rig) -> None:
    rig.hook()
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        reaches(keeper, P.QUIESCED)
        keeper.hear(order(P.FINAL, 2))
        assert keeper.begin_final()
        keeper.hear(order(P.RELEASED, 3))
        reaches(keeper, P.RELEASED)
        keeper.final_made(FINAL)
        assert reaches(keeper, P.RELEASED).checkpoint_id == ""


def test_a_pass_that_fails_for_good_is_the_failure_of_the_final_one(rig: Rig) -> None:
    with rig.agent() as keeper:
        keeper.hear(order(P.QUIESCED, 1))
        assert reaches(keeper, P.QUIESCED).services == "NO_HOOK"
        keeper.hear(order(P.FINAL, 2))
        assert keeper.begin_final()
        keeper.final_failed(AgentError("the disk is gone", code="DISK_VANISHED"))
        report = said(keeper, lambda report: bool(report.code))
        assert (report.phase, report.code, report.detail) == (P.QUIESCED, "DISK_VANISHED", "the disk is gone")
        assert not keeper.begin_final()


def test_a_journal_that_cannot_be_read_is_no_journal_that_is_empty(rig: Rig) -> None:
    (rig.folder / "state").mkdir()
    (rig.folder / "state" / "hold.json").write_text("{")
    with pytest.raises(StateError, match="nobody knows") as refusal, rig.agent():
        pass
    assert refusal.value.code == "HOLD_UNREADABLE"


def test_an_order_that_is_not_understood_is_told_and_changes_nothing(rig: Rig) -> None:
    with rig.agent() as keeper:
        keeper.hear(order("SLEEP", 1))
        assert not keeper.stands
    assert "upgrade this agent" in rig.notes[0]


def test_the_time_since_boot_goes_on() -> None:
    first, second = now(), now()
    assert first.boot == second.boot
    assert second.ms >= first.ms > 0


def test_the_end_of_the_thread_is_told(rig: Rig) -> None:
    """Nobody watches the services then: the agent ends, and is started again."""
    with rig.agent():
        assert rig.ended == []
    assert rig.ended == [True]
