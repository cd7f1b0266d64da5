"""The course of a hold: a pure function of the journal, the newest order and the moment.

The agent writes what `decide` says into its journal, on stable storage, and then does what the stage stands
for. So an agent that is killed anywhere finds in its journal at most a stage whose effect may have begun, and
every effect may be repeated.

Once a record is firm, nothing but an order leads to STARTING. Once it is STARTING, nothing leads back: this
cutover is over for this host, whatever is ordered. So nobody can rely on a host that gave its services back.
"""

from collections.abc import Callable
from dataclasses import replace

from app.agent.daemon.hold.moment import Moment
from app.agent.daemon.hold.record import Record, Stage
from app.wire.hold import (
    SOURCE_REBOOTED,
    SOURCE_RELEASED,
    HoldCause,
    HoldOrder,
    HoldPhase,
    HoldServices,
)

NewProof = Callable[[], str]


def decide(record: Record | None, order: HoldOrder | None, now: Moment, new_proof: NewProof) -> Record | None:
    """The record as it must be now; the same one where nothing has to be done. FINISHING is begun by
    `begin_final` alone, since only whoever makes passes knows when."""
    if record is None or record.is_over:
        return _begin(record, order, now)
    if record.boot != now.boot:
        return _after_reboot(record, now)
    if order is not None and order.cutover == record.cutover:
        record = _obey(record, order, new_proof)
    elif order is not None and record.is_loose:
        return _starting(record, HoldCause.REPLACED, f"cutover {order.cutover} came")
    if record.is_loose and now.ms >= record.deadline_ms:
        return _starting(record, HoldCause.EXPIRED, "the service was not heard of for the time of the hold")
    return record


def _begin(record: Record | None, order: HoldOrder | None, now: Moment) -> Record | None:
    """Begin with the hold of an order, if it is a new one. The end of one that never began here is written
    down too: an order of it that comes late must find it."""
    if order is None or (record is not None and record.cutover == order.cutover):
        return record
    fresh = Record(order.cutover, order.revision, Stage.STARTED, now.boot)
    if order.phase == HoldPhase.QUIESCED:
        return replace(fresh, stage=Stage.STOPPING, deadline_ms=now.ms + order.seconds * 1000)
    if order.phase == HoldPhase.RELEASED:
        return replace(fresh, cause=HoldCause.ORDERED)
    detail = "this agent knows nothing of the hold: it did not stop the services"
    return replace(fresh, cause=HoldCause.UNKNOWN, detail=detail)


def _after_reboot(record: Record, now: Moment) -> Record:
    """The host started its services by itself, and they may have written. Where somebody may rely on the
    hold, they are stopped again; else it is over. A copy of the source, which was made before that, takes
    this way as well."""
    if record.is_held and record.is_firm:
        detail = "the host was rebooted while it was held: its services ran until they were stopped again"
        again = replace(record, stage=Stage.RESTOPPING, boot=now.boot)
        return replace(again, services=HoldServices.STARTED, code=SOURCE_REBOOTED, detail=detail)
    if record.is_loose or record.is_firm:
        rebooted = "the host was rebooted, and its services started with it"
        return replace(_starting(record, HoldCause.REBOOTED, rebooted), boot=now.boot)
    return replace(record, boot=now.boot)


def _obey(record: Record, order: HoldOrder, new_proof: NewProof) -> Record:
    if order.phase == HoldPhase.RELEASED:
        is_under_way = record.stage == Stage.STARTING
        started = record if is_under_way else _starting(record, HoldCause.ORDERED, "")
        return replace(started, revision=order.revision)
    is_ready = record.stage == Stage.FINISHED and not record.code
    if order.phase == HoldPhase.HELD and is_ready:
        return replace(record, stage=Stage.HOLDING, revision=order.revision, proof=new_proof())
    return record


def begin_final(record: Record | None, order: HoldOrder | None) -> Record | None:
    """The record with the final checkpoint begun; None where it is not wanted now. One that was begun by an
    agent which was killed is begun again: the one that is written down counts."""
    if record is None or order is None or order.cutover != record.cutover or not record.has_stopped:
        return None
    is_wanted = order.phase in (HoldPhase.FINAL, HoldPhase.HELD)
    if not is_wanted or record.stage not in (Stage.STOPPED, Stage.FINISHING):
        return None
    return replace(record, stage=Stage.FINISHING, revision=order.revision)


def _starting(record: Record, cause: HoldCause, detail: str) -> Record:
    return replace(record, stage=Stage.STARTING, cause=cause, code="", detail=detail)


def pauses_passes(record: Record | None, order: HoldOrder | None) -> bool:
    """Whether the final checkpoint has to stay the head, so that no other pass may be made.

    An order is enough: the agent of a copy of the source, which knows of no hold, makes none either.
    """
    is_over = record is None or record.stage in (Stage.STARTING, Stage.STARTED)
    is_final = not is_over and record is not None and record.stage not in (Stage.STOPPING, Stage.STOPPED)
    return is_final or (order is not None and order.phase in (HoldPhase.FINAL, HoldPhase.HELD))


def renewed(record: Record, order: HoldOrder, now: Moment) -> Record:
    """The record after an order was heard: its dead-man counts from now."""
    is_own = record.is_loose and record.cutover == order.cutover and record.boot == now.boot
    is_kept = is_own and order.phase != HoldPhase.RELEASED
    return replace(record, deadline_ms=now.ms + order.seconds * 1000) if is_kept else record


def is_self_released(record: Record) -> bool:
    """Whether the hold ended without an order of its own."""
    return record.stage in (Stage.STARTING, Stage.STARTED) and record.cause != HoldCause.ORDERED


def code_of(record: Record, order: HoldOrder | None) -> str:
    """The code that a report has."""
    wants_release = (
        order is not None and order.cutover == record.cutover and order.phase == HoldPhase.RELEASED
    )
    if record.code or wants_release or not is_self_released(record):
        return record.code
    return SOURCE_RELEASED


def phase_of(record: Record) -> str:
    """The phase that is reached, empty for none."""
    if record.stage == Stage.STARTED:
        return HoldPhase.RELEASED
    if record.is_held and record.is_firm:
        return HoldPhase.HELD
    if record.stage in (Stage.FINISHED, Stage.HOLDING) and record.checkpoint_id:
        return HoldPhase.FINAL
    return HoldPhase.QUIESCED if record.has_stopped else ""
