"""From a report to a verdict: a pure function, so that every rule of it can be tested.

The estimates, with r the bytes to read, w the bytes on the wire, d the churn, u the bandwidth up:

- first copy: the longest of reading (the slowest disk; disks are read side by side), sending w = r / ratio,
  and hashing and compressing r. What is written meanwhile is copied too, hence divided by 1 - d / u.
- convergence: d < u. Churn is taken to be sent as it is, uncompressed: databases and logs of compressed data
  hardly shrink.
- freeze: what is written during the last round before the cut, read in single blocks, and FREEZE_MS for
  freezing itself. A round takes ROUND_SECONDS, or longer where d comes close to u.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from app.contract.preflightwords import Bottleneck, PreflightOutcome
from app.contract.words import FindingSeverity
from app.wire.chunks import BLOCK, MIB
from app.wire.preflight import Finding, Preflight, worst_first

RATIO: Final = 2.0
"""Assumed compression: a Debian with databases and compilers gave 2.1 at the level that is used."""
PROCESSING_RATE: Final = 300 * MIB
"""Bytes a second that agent and gateway hash, compress and store: measured on two shared cores."""
FREEZE_MS: Final = 130
"""Median wait until a filesystem with an fsyncing writer stood still."""
ROUND_SECONDS: Final = 1.0
NEAR: Final = 0.5
"""Share of the bandwidth from which on churn is worth a note."""
SLOW: Final = timedelta(days=7)
SKEW: Final = timedelta(seconds=30)
_STORE_REMEDY: Final = "enlarge the store, or leave disks out"

S = FindingSeverity


class OwnCode(StrEnum):
    """What the service itself finds, beside the agent's `Code`."""

    AGENT_OUTDATED = "AGENT_OUTDATED"
    NETWORK_UNKNOWN = "NETWORK_UNKNOWN"
    STORE_SPACE = "STORE_SPACE"
    CLOCK_SKEW = "CLOCK_SKEW"
    NOT_CONVERGING = "NOT_CONVERGING"
    CHURN_NEAR_BANDWIDTH = "CHURN_NEAR_BANDWIDTH"
    FIRST_COPY_SLOW = "FIRST_COPY_SLOW"


@dataclass(frozen=True)
class Circumstances:
    """What the service knows beside the report.

    `store_free` are bytes that the store may still take, `stored` those that it holds of the server already;
    `clock_skew` is the source's clock minus the service's; `wire_version` is the service's own.
    """

    store_free: int
    stored: int
    clock_skew: timedelta
    wire_version: int


@dataclass(frozen=True)
class Estimate:
    """See `PreflightEstimate` of the contract."""

    read_bytes: int
    wire_bytes: int
    compression_ratio: float
    first_copy_seconds: int | None
    bottleneck: Bottleneck | None
    churn_rate: int | None
    link_rate: int | None
    converges: bool | None
    freeze_ms: int | None


@dataclass(frozen=True)
class Verdict:
    """The findings of both sides, the gravest first, and what they come to."""

    outcome: PreflightOutcome
    findings: tuple[Finding, ...]
    estimate: Estimate


def judge(report: Preflight, around: Circumstances) -> Verdict:
    """The verdict on a report."""
    estimate = estimate_of(report)
    findings = worst_first((*report.findings, *_own(report, around, estimate)))
    return Verdict(outcome_of(findings), findings, estimate)


def outcome_of(findings: tuple[Finding, ...]) -> PreflightOutcome:
    """The outcome that the gravest finding stands for."""
    severities = {each.severity for each in findings}
    if S.BLOCKER in severities:
        return PreflightOutcome.BLOCKED
    return PreflightOutcome.WARNINGS if S.WARNING in severities else PreflightOutcome.OK


def estimate_of(report: Preflight) -> Estimate:
    """What a replication of these disks over this link would take."""
    to_read = sum(disk.to_read for disk in report.disks)
    churns = [disk.churn_rate for disk in report.disks if disk.churn_rate is not None]
    churn = sum(churns) if churns else None
    up = report.network.up_rate if report.network and report.network.up_rate else None
    seconds, bottleneck = _first_copy(report, to_read, up, churn or 0)
    return Estimate(
        read_bytes=to_read,
        wire_bytes=round(to_read / RATIO),
        compression_ratio=RATIO,
        first_copy_seconds=seconds,
        bottleneck=bottleneck,
        churn_rate=churn,
        link_rate=up,
        converges=None if churn is None or up is None else churn < up,
        freeze_ms=_freeze_ms(report, churn, up),
    )


def _first_copy(
    report: Preflight, to_read: int, up: int | None, churn: int
) -> tuple[int | None, Bottleneck | None]:
    if up is None or not report.disks or any(disk.to_read and not disk.read_rate for disk in report.disks):
        return None, None
    disks = max(disk.to_read / disk.read_rate if disk.to_read else 0.0 for disk in report.disks)
    stages = (
        (disks, Bottleneck.DISK),
        (to_read / RATIO / up, Bottleneck.NETWORK),
        (to_read / PROCESSING_RATE, Bottleneck.PROCESSING),
    )
    longest, bottleneck = max(stages, key=lambda stage: stage[0])
    share = min(0.9, churn / up)  # where it does not converge the copy ends all the same, as a fuzzy one
    return round(longest / (1 - share)), bottleneck


def _freeze_ms(report: Preflight, churn: int | None, up: int | None) -> int | None:
    if churn is None or up is None or churn >= up:
        return None
    dirty = churn * ROUND_SECONDS / (1 - churn / up)
    latency = max((disk.latency_us for disk in report.disks), default=0)
    return FREEZE_MS + round(dirty / BLOCK * latency / 1000)


def _own(report: Preflight, around: Circumstances, estimate: Estimate) -> Iterator[Finding]:
    yield _store(around, estimate)
    yield _clock(around.clock_skew)
    if report.wire_version != around.wire_version:
        yield Finding(
            OwnCode.AGENT_OUTDATED,
            S.WARNING,
            "agent",
            f"it speaks version {report.wire_version} of the wire, this service {around.wire_version}",
            "upgrade the older of agent and service: they refuse each other",
        )
    if report.network is None:
        yield Finding(
            OwnCode.NETWORK_UNKNOWN,
            S.WARNING,
            "network",
            "the way to the service was not measured",
            "run it again",
        )
    yield from _convergence(estimate)
    yield from _duration(estimate)


def _store(around: Circumstances, estimate: Estimate) -> Finding:
    needed = max(0, estimate.wire_bytes - around.stored)
    text = (
        f"a first copy needs about {_gib(needed)}, at worst {_gib(estimate.read_bytes)}; "
        f"{_gib(around.store_free)} are free"
    )
    if needed > around.store_free:
        return Finding(OwnCode.STORE_SPACE, S.BLOCKER, "store", text, _STORE_REMEDY)
    if max(0, estimate.read_bytes - around.stored) > around.store_free:
        return Finding(OwnCode.STORE_SPACE, S.WARNING, "store", text, f"watch it, {_STORE_REMEDY}")
    return Finding(OwnCode.STORE_SPACE, S.OK, "store", text)


def _clock(skew: timedelta) -> Finding:
    seconds = round(skew.total_seconds())
    text = f"the source's clock is {abs(seconds)} s {'ahead of' if seconds > 0 else 'behind'} the service's"
    if abs(skew) <= SKEW:
        return Finding(OwnCode.CLOCK_SKEW, S.OK, "host", text)
    remedy = "set it by NTP: the times of checkpoints are those of the source"
    return Finding(OwnCode.CLOCK_SKEW, S.WARNING, "host", text, remedy)


def _convergence(estimate: Estimate) -> Iterator[Finding]:
    churn, link = estimate.churn_rate, estimate.link_rate
    if churn is None or link is None:
        return
    text = f"{_mib(churn)}/s are written to the disks, and the link carries {_mib(link)}/s"
    if churn >= link:
        remedy = (
            "replication would fall ever further behind while this lasts: more bandwidth, fewer disks, or a "
            "quieter time for the cutover"
        )
        yield Finding(OwnCode.NOT_CONVERGING, S.WARNING, "network", text, remedy)
    elif churn >= NEAR * link:
        remedy = "replication keeps up, with a growing lag at busy times; plan the cutover for a quiet one"
        yield Finding(OwnCode.CHURN_NEAR_BANDWIDTH, S.NOTE, "network", text, remedy)


def _duration(estimate: Estimate) -> Iterator[Finding]:
    seconds = estimate.first_copy_seconds
    if seconds is not None and seconds > SLOW.total_seconds():
        yield Finding(
            OwnCode.FIRST_COPY_SLOW,
            S.WARNING,
            str(estimate.bottleneck),
            f"a first copy would take about {seconds // 86400} days",
            "it can be interrupted and goes on where it was; see to what it waits for, or leave disks out",
        )


def _gib(count: int) -> str:
    return f"{count / 1024**3:.1f} GiB"


def _mib(count: int) -> str:
    return f"{count / MIB:.1f} MiB"
