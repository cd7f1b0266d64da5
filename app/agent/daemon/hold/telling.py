"""What the service is told of a hold: a pure function of the journal and the newest order."""

from dataclasses import dataclass

from app.agent.daemon.hold.course import code_of, phase_of
from app.agent.daemon.hold.record import Record, Stage
from app.wire.hold import OTHER_HOLD, HoldOrder, HoldPhase, HoldReport


@dataclass(frozen=True)
class Told:
    """A report, and the cutover that it is for."""

    cutover: str
    report: HoldReport


def told_of(record: Record | None, order: HoldOrder | None) -> Told | None:
    """What is to be told; None while there is nothing new to say."""
    if record is None:
        return None
    if order is not None and order.cutover != record.cutover:
        return _other(record, order) if record.is_firm else None
    if record.stage in (Stage.STOPPING, Stage.STARTING) or (record.is_over and order is None):
        return None
    return Told(record.cutover, _report(record, order))


def _other(record: Record, order: HoldOrder) -> Told:
    detail = f"the services of this host are held for cutover {record.cutover}, which only its release ends"
    return Told(order.cutover, HoldReport(order.revision, code=OTHER_HOLD, detail=detail))


def _report(record: Record, order: HoldOrder | None) -> HoldReport:
    phase = phase_of(record)
    has_final = phase in (HoldPhase.FINAL, HoldPhase.HELD)
    return HoldReport(
        revision=max(record.revision, order.revision if order else 0),
        phase=phase,
        services=record.services,
        code=code_of(record, order),
        detail=record.detail,
        cause=record.cause,
        checkpoint_id=record.checkpoint_id if has_final else "",
        label=record.label if has_final else "",
        frozen_ms=record.frozen_ms if has_final else 0,
        roots=record.roots if has_final else (),
        proof=record.proof if record.is_held else "",
        hooks=record.hooks,
    )
