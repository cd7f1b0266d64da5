"""The job `target.validate`: a node looks whether a target works there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.contract.words import FindingSeverity, JobEventLevel, Place
from app.migration.services import Services
from app.migration.targets.opening import row_of, target_for
from app.work.context import Context
from app.work.kinds import JobKind, Step

if TYPE_CHECKING:
    from app.launch.target import TargetFinding

TARGET_VALIDATE: Final = "target.validate"


@dataclass(frozen=True)
class Validated:
    """What to look at: a target's id."""

    target_id: str


@dataclass(frozen=True)
class Finding:
    """What was found, as the result of the job has it."""

    severity: FindingSeverity
    code: str
    text: str
    remedy: str | None


@dataclass(frozen=True)
class Findings:
    """What the node found; `possible`: no blocker among it."""

    node: str
    possible: bool
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class ValidationSteps:
    """The step, in a process with these services."""

    services: Services

    async def validate(self, context: Context) -> Findings:
        """Look, and say what was found; a blocker is a finding and no failure of the job."""
        async with self.services.database.reading() as uow:
            row = await row_of(uow, context.input(Validated).target_id)
        found = await target_for(self.services, row).validate()
        for each in found:
            context.log(each.text, _level(each))
        findings = tuple(Finding(each.severity, each.code, each.text, each.remedy) for each in found)
        blocked = any(each.severity is FindingSeverity.BLOCKER for each in found)
        return Findings(context.node, not blocked, findings)


def _level(finding: "TargetFinding") -> JobEventLevel:
    is_grave = finding.severity in (FindingSeverity.BLOCKER, FindingSeverity.WARNING)
    return JobEventLevel.WARNING if is_grave else JobEventLevel.INFO


def target_kinds(services: Services) -> tuple[JobKind, ...]:
    """The kinds of jobs of this feature."""
    steps = ValidationSteps(services)
    return (JobKind(TARGET_VALIDATE, (Step("validate", Place.VOLUMES, steps.validate),)),)
