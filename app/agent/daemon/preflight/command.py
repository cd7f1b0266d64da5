"""`go2cloud-agent preflight`, and the short preflight at enrolment."""

import argparse
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from app.agent.daemon.errors import AgentError, UsageError
from app.agent.daemon.link.enrolled import link_of
from app.agent.daemon.preflight.delivery import deliver
from app.agent.daemon.preflight.registry import ENROL_SECONDS, OBSERVE_SECONDS, Wanted, examine
from app.agent.daemon.preflight.text import finding_lines, lines_of
from app.agent.daemon.state import Enrolment, StateDir
from app.agent.daemon.stopping import Stop
from app.wire.jsonform import encode
from app.wire.preflight import BLOCKER, NOTE, WARNING, Preflight, worst

_ATTEMPTS: Final = 3
"""Of delivering a report while somebody waits at a terminal."""
_LONGEST_SECONDS: Final = 3600.0


def add_arguments(
    parser: argparse.ArgumentParser, add_state_dir: Callable[[argparse.ArgumentParser], None]
) -> None:
    """The options of the command."""
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    parser.add_argument(
        "--observe",
        type=float,
        default=OBSERVE_SECONDS,
        metavar="SECONDS",
        help=f"how long writes are counted at least; default: {OBSERVE_SECONDS:.0f}",
    )
    parser.add_argument(
        "--disk",
        action="append",
        default=[],
        metavar="PATH",
        help="before enrolment: a block device or file to look at; may be repeated; default: physical disks",
    )
    parser.add_argument(
        "--try-freeze",
        action="store_true",
        help="really freeze and thaw each mounted filesystem on the disks, and say how long that took",
    )
    add_state_dir(parser)


def run(options: argparse.Namespace, version: str, out: IO[str], err: IO[str]) -> int:
    """Examine this host, show the report, deliver it if the host is enrolled; 1 if there is a blocker.

    Raises UsageError, StateError.
    """
    if not 0 <= options.observe <= _LONGEST_SECONDS:
        raise UsageError(f"--observe takes 0 to {_LONGEST_SECONDS:.0f} seconds")
    if options.try_freeze and os.geteuid() != 0:
        raise UsageError("only root can freeze", remedy="run it as root, or leave --try-freeze out")
    enrolment = StateDir(options.state_dir).enrolment()
    if enrolment is not None and options.disk:
        raise UsageError(
            "the disks of an enrolled host are those of its enrolment", remedy="leave --disk out"
        )
    named = enrolment.disks if enrolment else tuple(str(Path(path).absolute()) for path in options.disk)
    wanted = Wanted(named, version, seconds=options.observe, try_freeze=options.try_freeze)
    report = _examine_enrolled(enrolment, wanted, err) if enrolment else examine(wanted, Stop())
    _show(report, out, as_json=options.json)
    return 1 if worst(report.findings) == BLOCKER else 0


def _examine_enrolled(enrolment: Enrolment, wanted: Wanted, err: IO[str]) -> Preflight:
    stop = Stop()
    link = link_of(enrolment, stop)
    try:
        report = examine(replace(wanted, link=link), stop)
        try:
            deliver(link, report, _ATTEMPTS)
        except AgentError as error:
            err.write(f"go2cloud-agent: warning: the report was not delivered: {error}\n")
        return report
    finally:
        link.close()


def _show(report: Preflight, out: IO[str], *, as_json: bool) -> None:
    if as_json:
        out.write(encode(report).decode() + "\n")
        return
    out.writelines(line + "\n" for line in lines_of(report))
    out.write(_summary(report) + "\n")


def _summary(report: Preflight) -> str:
    counts = [
        f"{count} {severity}{'s' if count > 1 else ''}"
        for severity in (BLOCKER, WARNING, NOTE)
        if (count := sum(each.severity == severity for each in report.findings))
    ]
    return f"preflight: {', '.join(counts) or 'nothing to object to'}"


def after_enrolment(enrolment: Enrolment, version: str, out: IO[str], err: IO[str]) -> None:
    """A short preflight, delivered; blockers and warnings are shown. Whatever fails of it is a warning."""
    try:
        report = _examine_enrolled(enrolment, Wanted(enrolment.disks, version, seconds=ENROL_SECONDS), err)
    except AgentError as error:
        err.write(f"go2cloud-agent: warning: the preflight failed: {error}\n")
        return
    grave = tuple(each for each in report.findings if each.severity in (BLOCKER, WARNING))
    out.writelines(line + "\n" for line in finding_lines(grave))
    out.write(_summary(report) + "; all of it: go2cloud-agent preflight\n")
