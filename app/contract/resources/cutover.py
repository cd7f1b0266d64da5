"""Cutovers: servers that move to their target for good, and what is known before and after."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from app.contract.cutoverwords import CutoverPhase, CutoverState, LedgerEntryKind
from app.contract.resources.base import Input, Resource, UtcTime
from app.contract.resources.launch import LaunchMachine, PortForward, TestCheck, TestConversion, TestPhase
from app.contract.words import BootFailure, FindingSeverity, ServerOperation

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
TargetName = Annotated[str, Field(min_length=1, max_length=64)]


class CutoverOrder(Input):
    """How to cut a server over.

    `target` by id or name; by itself the node's own. `allow_active_source`: go on although nothing stops the
    source's services. `override` says why, although a doubt about the replica stands (a degraded head, a
    verification that proves nothing); it goes into the audit trail.
    """

    target: TargetName | None = None
    allow_active_source: bool = False
    override: Reason | None = None


class RevertOrder(Input):
    """How to take a server back.

    `source_gone`: the host of the source is lost for good, so nobody waits for its agent: the cutover ends,
    and its services are not given back. It is refused while the agent is heard, and needs a `reason`, which
    goes into the audit trail and stands in the cutover for good.
    """

    source_gone: bool = False
    reason: Reason | None = None

    @model_validator(mode="after")
    def _is_reasoned(self) -> Self:
        if self.source_gone != (self.reason is not None):
            raise ValueError("sourceGone and reason go together: say why the source counts as gone")
        return self


class CutoverTime(Resource):
    """When a part of a cutover began and ended; null while it runs."""

    phase: CutoverPhase
    started_at: UtcTime
    finished_at: UtcTime | None = None


class LedgerEntry(Resource):
    """What became of something when a cutover ended."""

    kind: LedgerEntryKind
    what: str
    detail: str = ""


class Cutover(Resource):
    """A cutover of a server.

    `id` is also the id of the machine. `base_checkpoint_id` was written to the target while the source ran,
    `checkpoint_id` is the final one, which the machine was made of. `source_active`: nobody stopped the
    source's services; null before that is known. `source_gone`: why an operator said that the source is gone;
    where the cutover is REVERTED, its services were not given back. `passed_over` are doubts that an override
    passed over. `downtime_seconds` is from the order to stop the source to the moment the last check passed.
    `passed` is null until there is a verdict; `reason`, `detail` and `remedy` say why a boot failed.
    `conversion` is null until the disks were looked at, `ledger` is written when it is finalized, or reverted
    without its source. `evidence` names what can be fetched: `screenshot`, `thumbnail`, `serial`.
    """

    id: str
    server_id: str
    job_id: str
    state: CutoverState
    target: str
    node: str | None = None
    verification_id: str | None = None
    base_checkpoint_id: str | None = None
    checkpoint_id: str | None = None
    checkpoint_number: int | None = None
    machine: LaunchMachine
    source_active: bool | None = None
    source_gone: str | None = None
    override: str | None = None
    passed_over: tuple[str, ...] = ()
    phases: tuple[CutoverTime, ...] = ()
    downtime_seconds: float | None = None
    requested_by: str = ""
    created_at: UtcTime
    launched_at: UtcTime | None = None
    checked_at: UtcTime | None = None
    ended_at: UtcTime | None = None
    passed: bool | None = None
    reason: BootFailure | None = None
    detail: str | None = None
    remedy: str | None = None
    accelerator: str | None = None
    boot_phases: tuple[TestPhase, ...] = ()
    checks: tuple[TestCheck, ...] = ()
    forwards: tuple[PortForward, ...] = ()
    conversion: TestConversion | None = None
    ledger: tuple[LedgerEntry, ...] = ()
    evidence: tuple[str, ...] = ()


class PlanFinding(Resource):
    """What an operation would meet now; a `blocker` refuses it, unless an override may pass over it."""

    severity: FindingSeverity
    code: str
    text: str
    remedy: str | None = None
    can_be_overridden: bool = False


class ReverseOrder(Input):
    """An order to begin the way back; it has no settings."""


class OperationPlan(Resource):
    """What an operation on a server would do, and what it would meet now; nothing is done."""

    operation: ServerOperation
    server_id: str
    possible: bool
    steps: tuple[str, ...]
    findings: tuple[PlanFinding, ...] = ()
