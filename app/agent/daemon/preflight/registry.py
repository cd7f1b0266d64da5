"""The checks, in the order in which they run, and the one run over all of them.

A check takes the report so far and returns it with its own fields filled in. One that fails costs its fields
and leaves a finding that names it; the report is made all the same. Writes are counted from before the first
check to after the last one, and beyond if the observation is to be longer.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from app.agent.daemon.errors import AgentError, Refusal
from app.agent.daemon.link.link import Link
from app.agent.daemon.preflight import churn
from app.agent.daemon.preflight.disks import check_disks
from app.agent.daemon.preflight.filesystems import check_filesystems
from app.agent.daemon.preflight.host import check_host
from app.agent.daemon.preflight.layouts import check_layouts
from app.agent.daemon.preflight.network import check_network
from app.agent.daemon.preflight.own_store import check_store
from app.agent.daemon.preflight.subject import Subject, opened
from app.agent.daemon.preflight.tracking import check_tracking
from app.agent.daemon.stopping import Stop, Stopped
from app.wire.preflight import MAX_FINDINGS, WARNING, Code, Finding, Preflight, worst_first
from app.wire.version import VERSION

Check = Callable[[Subject, Preflight], Preflight]

CHECKS: Final[tuple[tuple[str, Check], ...]] = (
    ("host", check_host),
    ("disks", check_disks),
    ("layout", check_layouts),
    ("filesystems", check_filesystems),
    ("tracking", check_tracking),
    ("store", check_store),
    ("network", check_network),
)

OBSERVE_SECONDS: Final = 60.0
"""How long writes are counted on demand."""
ENROL_SECONDS: Final = 3.0
"""The same at enrolment, which somebody waits for."""


@dataclass(frozen=True)
class Wanted:
    """What to look at: disks as they were named at enrolment, and for how long at least.

    `link` is None before the host is enrolled. With `try_freeze` each mounted filesystem is really frozen for
    a moment.
    """

    named: tuple[str, ...]
    agent_version: str
    link: Link | None = None
    order: str = ""
    seconds: float = OBSERVE_SECONDS
    try_freeze: bool = False
    counter: churn.Counter = churn.written


def examine(wanted: Wanted, stop: Stop, wait: Callable[[float], object] | None = None) -> Preflight:
    """Run all checks. Raises Stopped, and nothing else that a host can cause.

    `wait` sleeps, and returns early when somebody is in a hurry.
    """
    began = time.monotonic()
    report = Preflight(
        id=wanted.order,
        started=datetime.now(UTC).isoformat(),
        clock="",
        wire_version=VERSION,
        agent_version=wanted.agent_version,
    )
    try:
        report = _looked_at(wanted, report, stop, wait or stop.wait)
    except Stopped:
        raise
    except (OSError, AgentError) as error:
        report = _failed("disks", error, report)
    return replace(
        report,
        filesystems=report.filesystems[:MAX_FINDINGS],
        findings=worst_first(report.findings)[:MAX_FINDINGS],
        duration_ms=round((time.monotonic() - began) * 1000),
        clock=datetime.now(UTC).isoformat(),
    )


def _looked_at(wanted: Wanted, report: Preflight, stop: Stop, wait: Callable[[float], object]) -> Preflight:
    with opened(wanted.named, wanted.link, stop.check, try_freeze=wanted.try_freeze) as subject:
        before, since = _counted(subject, wanted.counter), time.monotonic()
        for name, check in CHECKS:
            stop.check()
            report = checked(name, check, subject, report)
        wait(max(0.0, wanted.seconds - (time.monotonic() - since)))
        stop.check()
        return _with_churn(report, before, _counted(subject, wanted.counter), time.monotonic() - since)


def checked(name: str, check: Check, subject: Subject, report: Preflight) -> Preflight:
    """The report with what a check adds; a finding where it fails. Raises Stopped."""
    try:
        return check(subject, report)
    except Stopped:
        raise
    except (OSError, ValueError, LookupError, AgentError) as error:
        return _failed(name, error, report)


def _failed(name: str, error: Exception, report: Preflight) -> Preflight:
    code = f"{error.code}: " if isinstance(error, Refusal) else ""
    text = f"the check of the {name} failed: {code}{str(error) or type(error).__name__}"[:1000]
    remedy = "what it would have told is unknown; run the preflight again, as root"
    finding = Finding(Code.CHECK_FAILED, WARNING, name, text, remedy)
    return replace(report, findings=(*report.findings, finding))


def _counted(subject: Subject, counter: churn.Counter) -> dict[str, int | None]:
    try:
        return churn.count(subject.disks, counter)
    except (OSError, AgentError):
        return {}  # a disk vanished: its churn is unknown, and the next pass says that it is gone


def _with_churn(
    report: Preflight, before: dict[str, int | None], after: dict[str, int | None], seconds: float
) -> Preflight:
    disks = tuple(
        replace(disk, churn_rate=churn.rate(before.get(disk.key), after.get(disk.key), seconds))
        for disk in report.disks
    )
    return replace(report, disks=disks, observed_ms=round(seconds * 1000))
