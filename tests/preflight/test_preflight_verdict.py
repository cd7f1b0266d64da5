"""From a report to a verdict: every rule of the service, on reports made for it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from app.contract.preflightwords import Bottleneck, PreflightOutcome
from app.contract.words import FindingSeverity
from app.migration.preflight.verdict import FREEZE_MS, RATIO, Circumstances, Verdict, judge
from app.wire import version
from app.wire.preflight import (
    BLOCKER,
    NOTE,
    OK,
    SEVERITIES,
    WARNING,
    DiskCheck,
    Finding,
    NetworkCheck,
    Preflight,
    worst,
)

GIB = 1 << 30
MIB = 1 << 20
NETWORK = NetworkCheck(
    requests=30,
    loss_permille=0,
    delay_us=2000,
    delay_min_us=1000,
    jitter_us=100,
    up_rate=100 * MIB,
    down_rate=100 * MIB,
    is_tls=True,
)
DISK = DiskCheck(
    key="a",
    path="/dev/sda",
    size=100 * GIB,
    to_read=50 * GIB,
    sector_size=512,
    physical_sector_size=4096,
    read_rate=400 * MIB,
    latency_us=100,
    churn_rate=MIB,
    tracker="tracefs",
)
REPORT = Preflight(
    id="",
    started="2026-01-02T03:04:05+00:00",
    clock="2026-01-02T03:05:05+00:00",
    wire_version=version.VERSION,
    agent_version="1.0",
    network=NETWORK,
    disks=(DISK,),
)
FINE = Circumstances(
    store_free=1000 * GIB, stored=0, clock_skew=timedelta(seconds=1), wire_version=version.VERSION
)


def found(verdict: Verdict) -> dict[str, str]:
    """Severity by code, those that are ok left out."""
    return {each.code: each.severity for each in verdict.findings if each.severity != OK}


def with_network(up_rate: int) -> Preflight:
    return replace(REPORT, network=replace(NETWORK, up_rate=up_rate))


def with_disk(**changes: int | None) -> Preflight:
    return replace(REPORT, disks=(replace(DISK, **changes),))  # type: ignore[arg-type]


def test_a_host_with_nothing_to_object_to_is_ok() -> None:
    verdict = judge(REPORT, FINE)
    assert (verdict.outcome, found(verdict)) == (PreflightOutcome.OK, {})
    assert {each.code for each in verdict.findings} == {"STORE_SPACE", "CLOCK_SKEW"}


@pytest.mark.parametrize(
    ("severities", "outcome"),
    [
        ((), PreflightOutcome.OK),
        ((OK, NOTE), PreflightOutcome.OK),
        ((NOTE, WARNING), PreflightOutcome.WARNINGS),
        ((WARNING, BLOCKER, NOTE), PreflightOutcome.BLOCKED),
    ],
)
def test_the_gravest_finding_decides_and_stands_first(
    severities: tuple[str, ...], outcome: PreflightOutcome
) -> None:
    findings = tuple(Finding("X", severity, "host", "text") for severity in severities)
    verdict = judge(replace(REPORT, findings=findings), FINE)
    assert verdict.outcome is outcome
    assert verdict.findings[0].severity == worst(findings)


def test_the_words_of_the_contract_are_those_of_the_wire() -> None:
    assert tuple(FindingSeverity) == SEVERITIES


@pytest.mark.parametrize(
    ("free", "stored", "severity"),
    [(51, 0, None), (50, 0, None), (49, 0, WARNING), (25, 0, WARNING), (24, 0, BLOCKER), (0, 50, None)],
)
def test_the_store_must_have_room_for_what_is_not_in_it(free: int, stored: int, severity: str | None) -> None:
    verdict = judge(REPORT, replace(FINE, store_free=free * GIB, stored=stored * GIB))
    assert found(verdict).get("STORE_SPACE") == severity


@pytest.mark.parametrize(
    ("seconds", "severity"), [(0, None), (30, None), (-30, None), (31, WARNING), (-3600, WARNING)]
)
def test_a_clock_that_is_wrong_is_told(seconds: int, severity: str | None) -> None:
    verdict = judge(REPORT, replace(FINE, clock_skew=timedelta(seconds=seconds)))
    assert found(verdict).get("CLOCK_SKEW") == severity


def test_an_agent_of_another_wire_version_is_told() -> None:
    assert found(judge(REPORT, replace(FINE, wire_version=99))) == {"AGENT_OUTDATED": WARNING}


@pytest.mark.parametrize(
    ("churn", "codes", "converges"),
    [
        (0, {}, True),
        (49 * MIB, {}, True),
        (50 * MIB, {"CHURN_NEAR_BANDWIDTH": NOTE}, True),
        (99 * MIB, {"CHURN_NEAR_BANDWIDTH": NOTE}, True),
        (100 * MIB, {"NOT_CONVERGING": WARNING}, False),
        (None, {}, None),
    ],
)
def test_churn_is_held_against_the_bandwidth(
    churn: int | None, codes: dict[str, str], converges: bool | None
) -> None:
    verdict = judge(with_disk(churn_rate=churn), FINE)
    assert found(verdict) == codes
    assert verdict.estimate.converges is converges


@pytest.mark.parametrize(
    ("report", "bottleneck", "seconds"),
    [
        (with_disk(read_rate=50 * MIB, churn_rate=0), Bottleneck.DISK, 1024),
        (with_network(up_rate=10 * MIB), Bottleneck.NETWORK, 2844),
        (with_network(up_rate=1000 * MIB), Bottleneck.PROCESSING, 171),
    ],
)
def test_a_first_copy_waits_for_its_slowest_part(
    report: Preflight, bottleneck: Bottleneck, seconds: int
) -> None:
    estimate = judge(report, FINE).estimate
    assert (estimate.bottleneck, estimate.first_copy_seconds) == (bottleneck, seconds)
    assert (estimate.read_bytes, estimate.wire_bytes) == (50 * GIB, round(50 * GIB / RATIO))


def test_disks_are_read_side_by_side_and_sent_one_after_the_other() -> None:
    two = replace(REPORT, disks=(DISK, replace(DISK, key="b")))
    slow = [replace(disk, read_rate=10 * MIB, churn_rate=0) for disk in two.disks]
    assert judge(replace(two, disks=tuple(slow)), FINE).estimate.first_copy_seconds == 5120
    assert judge(two, FINE).estimate.wire_bytes == round(100 * GIB / RATIO)


def test_what_is_written_meanwhile_prolongs_the_first_copy() -> None:
    calm, busy = (judge(with_disk(churn_rate=rate), FINE).estimate for rate in (0, 50 * MIB))
    assert calm.first_copy_seconds == 256
    assert busy.first_copy_seconds == 512


def test_a_copy_of_more_than_a_week_is_told() -> None:
    verdict = judge(with_network(up_rate=MIB // 64), replace(FINE, store_free=1000 * GIB))
    assert found(verdict)["FIRST_COPY_SLOW"] == WARNING


@pytest.mark.parametrize(
    "report", [replace(REPORT, network=None), with_network(up_rate=0), with_disk(read_rate=0)]
)
def test_without_a_measurement_there_is_no_estimate(report: Preflight) -> None:
    estimate = judge(report, FINE).estimate
    assert (estimate.first_copy_seconds, estimate.bottleneck) == (None, None)


def test_a_network_that_was_not_measured_is_told() -> None:
    assert found(judge(replace(REPORT, network=None), FINE)) == {"NETWORK_UNKNOWN": WARNING}


def test_a_freeze_is_as_long_as_reading_what_the_last_round_left() -> None:
    assert judge(with_disk(churn_rate=0), FINE).estimate.freeze_ms == FREEZE_MS
    # 4 MiB written in a second, twice that since half the link is taken: 2,048 blocks of 100 us
    half = replace(
        REPORT, disks=(replace(DISK, churn_rate=4 * MIB),), network=replace(NETWORK, up_rate=8 * MIB)
    )
    assert judge(half, FINE).estimate.freeze_ms == FREEZE_MS + 205
    assert judge(with_disk(churn_rate=200 * MIB), FINE).estimate.freeze_ms is None


def test_a_host_without_disks_gets_a_verdict_too() -> None:
    blocked = replace(REPORT, disks=(), findings=(Finding("NO_DISKS", BLOCKER, "host", "none"),))
    assert judge(blocked, FINE).outcome is PreflightOutcome.BLOCKED
