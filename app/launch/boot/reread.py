"""The proof of what is no machine: that its bytes, read again, are still those that were made."""

from app.contract.words import BootFailure
from app.kit.clock import Clock
from app.launch.boot.checks import CheckPlan
from app.launch.boot.evidence import Evidence
from app.launch.boot.proof import BootProof, CheckResult
from app.launch.boot.verdict import REMEDIES
from app.launch.machine import Instance


def prove_reread(
    instance: Instance, plan: CheckPlan, evidence: Evidence, clock: Clock, seconds: float, bad: list[str]
) -> BootProof:
    """Keep and return the proof; `bad` names what is not what it was."""
    count = len(instance.files)
    detail = f"not what was made: {', '.join(bad)}" if bad else f"{count} of {count} agree"
    seconds = round(seconds, 2)
    proof = BootProof(
        instance=instance.id,
        target=instance.target,
        passed=not bad,
        reason=BootFailure.IMAGE_DIFFERS if bad else None,
        detail=detail,
        remedy=REMEDIES[BootFailure.IMAGE_DIFFERS] if bad else None,
        at=clock.now(),
        seconds=seconds,
        phases=(),
        checks=tuple(
            CheckResult(check.name, check.kind, not bad, None if bad else seconds, detail)
            for check in plan.checks
        ),
        screenshots=(),
        thumbnail=None,
        accelerator=None,
        serial_tail="",
    )
    evidence.keep_proof(proof)
    return proof
