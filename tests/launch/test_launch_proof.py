"""Since when a machine serves: the moment that ends the downtime of a cutover."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.contract.words import CheckKind
from app.launch.boot.proof import BootProof, CheckResult

VERDICT = datetime(2026, 1, 2, 12, tzinfo=UTC)


def check(name: str, after: float | None, kind: CheckKind = CheckKind.HTTP) -> CheckResult:
    return CheckResult(name, kind, after is not None, after, "")


PROOF = BootProof(
    instance="cut-1",
    target="qemu",
    passed=True,
    reason=None,
    detail="all checks passed",
    remedy=None,
    at=VERDICT,
    seconds=9.5,
    phases=(),
    checks=(check("login", 3.0, CheckKind.LOGIN), check("http", 4.25)),
    screenshots=(),
    thumbnail=None,
    accelerator="tcg",
    serial_tail="",
)


def test_a_machine_serves_since_its_last_check_passed_and_not_since_the_verdict() -> None:
    assert PROOF.passed_at == VERDICT - timedelta(seconds=5.25)


def test_a_check_of_the_screen_passes_with_the_picture() -> None:
    checks = (*PROOF.checks, check("screen", 9.25, CheckKind.SCREEN))
    assert replace(PROOF, checks=checks).passed_at == VERDICT - timedelta(seconds=0.25)


def test_without_a_pass_of_each_check_nothing_is_said() -> None:
    assert replace(PROOF, passed=False).passed_at is None
    assert replace(PROOF, checks=(check("http", None),)).passed_at is None
    assert replace(PROOF, checks=()).passed_at is None
