"""A machine that is started again is judged by what it says since, never by what was seen before."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from app.contract.words import Accelerator, BootFailure, BootPhase
from app.kit.clock import SystemClock
from app.launch.boot.checks import CheckPlan, LoginCheck
from app.launch.boot.evidence import Evidence
from app.launch.boot.phases import NamedFailure
from app.launch.boot.proof import BootProof
from app.launch.boot.screen import Picture
from app.launch.boot.seriallog import begin_log
from app.launch.boot.watch import BootWatch
from app.launch.machine import Forward

LOGIN = b"Linux version 6.1\r\nhost login: "


@dataclass
class Started:
    """One start of a machine whose serial line is a file of this test's."""

    serial: Path
    number: str
    runs: bool = True
    forwards: tuple[Forward, ...] = ()
    instance: str = "ins-1"
    target: str = "here"
    accelerator: Accelerator = Accelerator.TCG
    began: float = field(default_factory=time.monotonic)

    async def start(self) -> str:
        return self.number

    def after(self) -> float:
        return time.monotonic() - self.began

    async def alive(self) -> bool:
        return self.runs

    async def fault(self) -> NamedFailure | None:
        return None

    async def picture(self) -> Picture | None:
        return None

    async def accepted(self, guest: int) -> bool:
        return True

    def last_words(self) -> str:
        return ""


def says(log: Path, words: bytes) -> None:
    log.write_bytes(words)


async def watched(machine: Started, evidence: Path) -> BootProof:
    plan = CheckPlan((LoginCheck(),), seconds=1, settle_seconds=0)
    return await BootWatch(machine, plan, Evidence(evidence), SystemClock()).run()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a machine that ended when it had shown its login prompt."""
    log = tmp_path / "serial.log"
    log.write_bytes(LOGIN)
    return log


async def test_a_login_prompt_of_the_start_before_proves_nothing_of_a_silent_machine(
    log: Path, tmp_path: Path
) -> None:
    evidence = tmp_path / "evidence"
    ended = await watched(Started(log, "first", runs=False), evidence)
    assert ended.reason is BootFailure.MACHINE_ENDED
    assert BootPhase.LOGIN in [seen.phase for seen in ended.phases]
    begin_log(log)
    again = await watched(Started(log, "second"), evidence)
    assert (again.passed, again.phases) == (False, ())
    assert again.reason is BootFailure.NO_SIGN_OF_LIFE


async def test_a_panic_and_the_kernels_of_starts_before_are_not_held_against_the_next(
    log: Path, tmp_path: Path
) -> None:
    says(log, b"Linux version 6.1\r\n" * 3 + b"Kernel panic - not syncing: no init\r\n")
    failed = await watched(Started(log, "first"), tmp_path / "evidence")
    assert failed.reason is BootFailure.KERNEL_PANIC
    begin_log(log)
    says(log, LOGIN)
    assert (await watched(Started(log, "second"), tmp_path / "evidence")).passed


async def test_a_watch_that_is_taken_up_while_the_machine_runs_keeps_what_was_seen(
    log: Path, tmp_path: Path
) -> None:
    first = await watched(Started(log, "first"), tmp_path / "evidence")
    seen = {each.phase: each.after for each in first.phases}
    later = Started(log, "first", began=time.monotonic() - 100)
    again = await watched(later, tmp_path / "evidence")
    assert again.passed
    assert {each.phase: each.after for each in again.phases} == seen


def test_the_log_of_the_start_before_is_kept_until_another_one_said_something(log: Path) -> None:
    before = log.with_name("serial.log.before")
    for _ in range(2):
        begin_log(log)
        assert (log.read_bytes(), before.read_bytes()) == (b"", LOGIN)
    log.write_bytes(b"later")
    begin_log(log)
    assert (log.read_bytes(), before.read_bytes()) == (b"", b"later")
