"""The life of a cutover in the database: chosen, stopped, cut, launched, judged; and how it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from app.contract.cutoverwords import CutoverPhase, CutoverState, LedgerEntryKind
from app.contract.words import ConsistencyLabel, HoldPhase, LifecycleState, ServerOperation
from app.kit.clock import parsed_time
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.kit.ids import new_id
from app.kit.settings import LaunchingSettings
from app.launch.boot.proof import BootProof, document
from app.launch.machine import Forward
from app.migration.cutover.doubts import doubts_of, require_none
from app.migration.cutover.errors import CutoverMoved, CutUnusable
from app.migration.cutover.queries import get_cutover, made_by
from app.migration.cutover.states import TRANSITIONS, CutoverAction
from app.migration.cutover.tables import CutoverRow
from app.migration.hold.tables import HoldRow
from app.migration.launch.queries import LATEST, find_checkpoint
from app.migration.launch.settings import get_settings
from app.migration.replication.tables import CheckpointRow
from app.migration.retention.checkpoints import keep, let_go
from app.migration.servers.enrolment import find_server
from app.migration.servers.lifecycle import change, take_back
from app.migration.servers.tables import ServerRow

A = CutoverAction


@dataclass(frozen=True)
class Wanted:
    """How to cut over: see CutoverOrder of the contract."""

    target_id: str
    allow_active_source: bool = False
    override: str | None = None
    requested_by: str = ""


@dataclass(frozen=True)
class Chosen:
    """The cutover that a job makes, and the doubts that its order passes over."""

    cutover_id: str
    base_number: int
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Effect:
    """Whose effect a cutover is: the job's and the step's key."""

    job_id: str
    key: str
    server_id: str


async def choose(uow: UnitOfWork, effect: Effect, wanted: Wanted, caps: LaunchingSettings) -> Chosen:
    """Make the cutover, or find the one that this effect made before; the server is CUTTING_OVER then.

    Raises LifecycleNotAllowed, CheckpointNotFound, and doubts that the order does not pass over.
    """
    known = await made_by(uow, effect.key)
    if known is not None:
        base = await uow.session.get(CheckpointRow, known.base_checkpoint_id or "")
        return Chosen(known.id, base.number if base else 0)
    server = await find_server(uow, effect.server_id)
    await change(uow, server, ServerOperation.CUTOVER)
    passed_over = require_none(await doubts_of(uow, server), wanted.override)
    head = await find_checkpoint(uow, server, LATEST)
    await keep(uow, head.id)
    made = await _made(uow, effect, wanted, server, caps)
    made.base_checkpoint_id, made.passed_over = head.id, list(passed_over)
    uow.session.add(made)
    await uow.session.flush()
    return Chosen(made.id, head.number, passed_over)


async def _made(
    uow: UnitOfWork, effect: Effect, wanted: Wanted, server: ServerRow, caps: LaunchingSettings
) -> CutoverRow:
    settings = await get_settings(uow, server, caps)
    return CutoverRow(
        id=new_id("cut"),
        server_id=server.id,
        job_id=effect.job_id,
        effect=effect.key,
        target=wanted.target_id,
        machine=settings.machine.model_dump(mode="json"),
        forwards=[],
        allow_active_source=wanted.allow_active_source,
        override=wanted.override,
        phases=[],
        ledger=[],
        requested_by=wanted.requested_by[:200],
        created_at=uow.now,
    )


async def unchoose(uow: UnitOfWork, key: str) -> None:
    """Undo `choose`: the source runs as ever, and the server is what it was before."""
    cutover = await made_by(uow, key)
    if cutover is None:
        return
    act(uow, cutover, A.UNDO)
    await uow.session.flush()
    server = await find_server(uow, cutover.server_id)
    await take_back(uow, server, ServerOperation.CUTOVER, LifecycleState.READY_FOR_CUTOVER)
    await _let_go(uow, cutover)


async def _let_go(uow: UnitOfWork, cutover: CutoverRow) -> None:
    """Keep its checkpoints no longer than others need them; the final one may be known to its hold only."""
    held = select(HoldRow.checkpoint_id).where(HoldRow.cutover_id == cutover.id)
    await let_go(uow, cutover.base_checkpoint_id, cutover.checkpoint_id, await uow.session.scalar(held))


def act(uow: UnitOfWork, cutover: CutoverRow, action: CutoverAction) -> None:
    """Change the state of a cutover by the table. Raises CutoverMoved for what the table has not."""
    after = TRANSITIONS.get((CutoverState(cutover.state), action))
    if after is None:
        raise CutoverMoved(
            f"cutover {cutover.id} is {cutover.state}: {action} is not possible",
            remedy="look what became of it: go2cloud server cutovers; then order anew what is wanted",
            cutover=cutover.id,
            state=cutover.state,
        )
    cutover.state = after
    if action is A.LAUNCH:
        cutover.launched_at = cutover.launched_at or uow.now
    elif action in (A.UNDO, A.RELEASE, A.FINALIZE):
        cutover.ended_at = cutover.ended_at or uow.now
        cutover.forwards = cutover.forwards if action is A.FINALIZE else []


async def place(uow: UnitOfWork, cutover_id: str, node: str) -> None:
    """From now on something of the cutover may be on the node."""
    (await get_cutover(uow, cutover_id)).node = node


async def verified(uow: UnitOfWork, cutover_id: str, verification_id: str, passed_over: str | None) -> None:
    """The verification that the cutover relies on, and the doubt about it that the order passes over."""
    cutover = await get_cutover(uow, cutover_id)
    cutover.verification_id = verification_id
    if passed_over is not None and passed_over not in cutover.passed_over:
        cutover.passed_over = [*cutover.passed_over, passed_over]


async def stopping(uow: UnitOfWork, cutover_id: str) -> None:
    """From now on the source's services may be stopped."""
    act(uow, await get_cutover(uow, cutover_id), A.STOP)


async def stopped(uow: UnitOfWork, cutover_id: str, *, source_active: bool) -> None:
    """What is known of the source's services now."""
    (await get_cutover(uow, cutover_id)).source_active = source_active


async def cut(uow: UnitOfWork, cutover_id: str, checkpoint_id: str) -> CheckpointRow:
    """The final checkpoint is there; it is kept. Raises CutUnusable for one that nothing may be made of."""
    cutover = await get_cutover(uow, cutover_id)
    found = await uow.session.get(CheckpointRow, checkpoint_id)
    base = await uow.session.get(CheckpointRow, cutover.base_checkpoint_id or "")
    if found is None or found.server_id != cutover.server_id or (base and found.number < base.number):
        raise CutUnusable(f"checkpoint {checkpoint_id} is no checkpoint of this cutover")
    if found.label != ConsistencyLabel.FROZEN:
        raise CutUnusable(
            f"checkpoint {found.number}, the last one, is {found.label} and not frozen",
            remedy="see in docs/replication.md what keeps a source from being frozen",
        )
    await keep(uow, found.id)
    cutover.checkpoint_id, cutover.checkpoint_number = found.id, found.number
    return found


async def launching(uow: UnitOfWork, cutover_id: str) -> None:
    """From now on the machine may run, and the source may not."""
    act(uow, await get_cutover(uow, cutover_id), A.LAUNCH)


async def launched(uow: UnitOfWork, cutover_id: str, forwards: Sequence[Forward]) -> None:
    """Its machine is there."""
    cutover = await get_cutover(uow, cutover_id)
    cutover.forwards = [{"guest": each.guest, "host": each.host} for each in forwards]


async def judged(uow: UnitOfWork, cutover_id: str, proof: BootProof) -> None:
    """Its machine was watched to the end: keep the verdict; repeating replaces it.

    CHECK ended when the last check passed. The watch goes on after that, to a picture, beside a machine that
    serves.
    """
    cutover = await get_cutover(uow, cutover_id)
    cutover.passed, cutover.checked_at = proof.passed, uow.now
    written = document(proof)
    assert isinstance(written, dict)
    cutover.proof = written
    _end(cutover, CutoverPhase.CHECK, proof.passed_at or uow.now)


async def succeeded(uow: UnitOfWork, cutover_id: str) -> CutoverRow:
    """Its machine passed; the checkpoint that was written while the source ran is of no use any more."""
    cutover = await get_cutover(uow, cutover_id)
    act(uow, cutover, A.PASS)
    await uow.session.flush()
    await let_go(uow, cutover.base_checkpoint_id)
    return cutover


async def reverting(uow: UnitOfWork, cutover_id: str) -> None:
    """From now on the machine may run no more."""
    act(uow, await get_cutover(uow, cutover_id), A.REVERT)


async def reverted(uow: UnitOfWork, cutover_id: str) -> CutoverRow:
    """The source has its services back, or is gone; the server is ready for another cutover."""
    cutover = await get_cutover(uow, cutover_id)
    act(uow, cutover, A.RELEASE)
    await _note_source(uow, cutover)
    await uow.session.flush()
    server = await find_server(uow, cutover.server_id)
    if server.lifecycle_state == LifecycleState.CUTTING_OVER:
        await change(uow, server, ServerOperation.REVERT)
    await _let_go(uow, cutover)
    return cutover


async def _note_source(uow: UnitOfWork, cutover: CutoverRow) -> None:
    """A source that counts as gone has its services back all the same, or the ledger says that it has not."""
    reached = select(HoldRow.reached).where(HoldRow.cutover_id == cutover.id)
    if await uow.session.scalar(reached) == HoldPhase.RELEASED:
        cutover.source_gone, cutover.ledger = None, []
    elif cutover.source_gone is not None:
        detail = (
            "its services were not given back: it counts as gone; an agent of it that is heard again is told "
            f"to start them ({cutover.source_gone})"
        )
        cutover.ledger = [{"kind": LedgerEntryKind.LEFT.value, "what": "the source", "detail": detail}]


async def phase_begins(uow: UnitOfWork, cutover_id: str, phase: CutoverPhase) -> None:
    """Note when a part begins; one that is repeated began when it first did."""
    cutover = await get_cutover(uow, cutover_id)
    if all(_named(each) != phase for each in cutover.phases):
        began: Json = {"phase": phase.value, "startedAt": uow.now.isoformat(), "finishedAt": None}
        cutover.phases = [*cutover.phases, began]


async def phase_ends(uow: UnitOfWork, cutover_id: str, phase: CutoverPhase) -> None:
    """Note when a part ended."""
    _end(await get_cutover(uow, cutover_id), phase, uow.now)


def _end(cutover: CutoverRow, phase: CutoverPhase, at: datetime) -> None:
    cutover.phases = [
        each | {"finishedAt": at.isoformat()} if isinstance(each, dict) and _named(each) == phase else each
        for each in cutover.phases
    ]


def _named(entry: Json) -> str:
    return str(entry.get("phase")) if isinstance(entry, dict) else ""


def downtime(cutover: CutoverRow) -> float | None:
    """Seconds from the order to stop the source to the last check that passed; None before the verdict."""
    times = {_named(each): each for each in cutover.phases if isinstance(each, dict)}
    began, ended = times.get(CutoverPhase.STOP), times.get(CutoverPhase.CHECK)
    if began is None or ended is None or not ended.get("finishedAt") or not cutover.passed:
        return None
    passed = parsed_time(str(ended["finishedAt"])) - parsed_time(str(began["startedAt"]))
    return passed.total_seconds()
