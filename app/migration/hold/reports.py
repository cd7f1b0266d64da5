"""What an agent says of its hold: believed only of the hold that stands, never backwards, once."""

from dataclasses import asdict

from app.contract.words import HoldCause, HoldPhase, HoldServices
from app.kit.database import UnitOfWork
from app.kit.errors import Invalid
from app.migration.hold.errors import ReportRefused
from app.migration.hold.final import judge_final
from app.migration.hold.rows import phase_of, require_row, view
from app.migration.hold.states import Hold, Judgement, Progress, judge, rank
from app.migration.hold.tables import HoldRow
from app.wire.hold import HoldReport

P = HoldPhase
_TIMES = {P.QUIESCED: "quiesced_at", P.FINAL: "final_at", P.HELD: "held_at", P.RELEASED: "released_at"}
_WHY = {
    Judgement.NOT_WANTED: "it is more than was wanted",
    Judgement.NOT_THE_HOLDER: "it does not come of the agent that holds the source",
}


async def report(uow: UnitOfWork, server_id: str, cutover_id: str, found: HoldReport) -> Hold | None:
    """Take what the server's agent says; the hold, or None where that changed nothing but times.

    What is reached never goes back, and a report may be repeated. Raises HoldNotFound, ReportRefused,
    Invalid BAD_HOLD_REPORT.
    """
    row = await require_row(uow, server_id, cutover_id, locked=True)
    phase, services, cause = _words(found)
    judgement = _judge(row, phase, found)
    if judgement in _WHY:
        raise ReportRefused(
            f"the report of {phase or 'nothing'} for cutover {cutover_id} is not believed: {_WHY[judgement]}",
            remedy="look whether a copy of the source runs its agent",
        )
    if judgement is Judgement.IGNORE or row.standing_for is None:
        return None
    before = view(row)
    row.services, row.cause, row.hooks = services, cause, [asdict(hook) for hook in found.hooks]
    row.code, row.detail, row.reported_at = found.code, found.detail, uow.now
    row.reported_revision = found.revision
    await _reach(uow, row, phase, found)
    await uow.session.flush()
    after = view(row)
    return after if _facts(after) != _facts(before) else None


def _words(found: HoldReport) -> tuple[HoldPhase | None, HoldServices, HoldCause | None]:
    try:
        return (
            P(found.phase) if found.phase else None,
            HoldServices(found.services),
            HoldCause(found.cause) if found.cause else None,
        )
    except ValueError as error:
        raise Invalid(f"the report of a hold is not understood: {error}", code="BAD_HOLD_REPORT") from error


def _judge(row: HoldRow, phase: HoldPhase | None, found: HoldReport) -> Judgement:
    return judge(
        P(row.wanted),
        Progress(phase_of(row), row.reported_revision),
        Progress(phase, found.revision),
        proof=row.proof,
        reported_proof=found.proof,
    )


async def _reach(uow: UnitOfWork, row: HoldRow, phase: HoldPhase | None, found: HoldReport) -> None:
    """Note the phase, if the report makes it believed."""
    if phase is P.FINAL and rank(phase_of(row)) < rank(P.FINAL):
        phase = await _take_final(uow, row, found)
    if phase is not None and phase is not P.RELEASED and rank(phase) >= rank(P.FINAL):
        _require_same_final(row, found)
    if phase is P.HELD and not row.proof:
        if not found.proof:
            raise ReportRefused("an agent that holds the source gives its proof", remedy="upgrade the agent")
        row.proof = found.proof
    if phase is None:
        return
    row.reached = phase
    if getattr(row, _TIMES[phase]) is None:
        setattr(row, _TIMES[phase], uow.now)
    if phase is P.RELEASED and row.wanted == P.RELEASED:
        row.standing_for = None


async def _take_final(uow: UnitOfWork, row: HoldRow, found: HoldReport) -> HoldPhase:
    """FINAL if the checkpoint can be the final one, which is kept then; else what was reached stands."""
    verdict = await judge_final(uow, row.server_id, found, row.wanted_at)
    if verdict.checkpoint is None:
        row.code, row.detail = verdict.code, verdict.detail
        return phase_of(row) or P.QUIESCED
    verdict.checkpoint.kept = True
    row.checkpoint_id, row.frozen_ms = verdict.checkpoint.id, verdict.checkpoint.freeze_ms
    return P.FINAL


def _require_same_final(row: HoldRow, found: HoldReport) -> None:
    if row.checkpoint_id != found.checkpoint_id:
        raise ReportRefused(
            f"the final checkpoint of cutover {row.cutover_id} is {row.checkpoint_id or 'not made yet'}, "
            f"not {found.checkpoint_id or 'none'}",
            remedy="the first one that was reported counts",
        )


def _facts(hold: Hold) -> tuple[object, ...]:
    return hold.reached, hold.services, hold.code, hold.detail, hold.checkpoint_id, hold.cause
