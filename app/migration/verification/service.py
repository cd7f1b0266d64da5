"""Verifications from their order to their result; a server has one at a time."""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select, update

from app.contract.paging import Page, PageRequest
from app.contract.resources.verification import Verification
from app.contract.words import LifecycleState, ReplicationGoal, ReplicationReason, ReplicationState, WorkState
from app.kit.database import UnitOfWork
from app.kit.ids import new_id
from app.migration.replication.standing import Change, settle
from app.migration.replication.statements import insert_ignoring
from app.migration.replication.states import Standing
from app.migration.servers.enrolment import find_server
from app.migration.servers.tables import ServerRow
from app.migration.verification.errors import NothingToVerify, VerificationNotFound
from app.migration.verification.tables import VerificationRow
from app.migration.verification.views import verification_view
from app.wire import verification as wire

LATEST = "latest"


@dataclass(frozen=True)
class Finished:
    """What came of a result: whether it is the first one, and the change of the server's replication."""

    is_new: bool
    change: Change | None = None


MOST_DUE = 100
"""Verifications that are ordered at once: a fleet that enrolled in one hour is not verified in one."""


async def request(uow: UnitOfWork, server_id: str) -> Verification:
    """Order a verification, or find the one that stands already. Raises NothingToVerify."""
    server = await find_server(uow, server_id)
    if server.head_checkpoint_id is None:
        raise NothingToVerify(
            f"server {server.name!r} has no checkpoint to be compared with",
            remedy=f"let it replicate first: go2cloud server sync {server.name}",
        )
    await _order(uow, [server_id], automatic=False)
    query = select(VerificationRow).where(VerificationRow.standing_for == server_id)
    return verification_view((await uow.session.scalars(query)).one())


async def _order(uow: UnitOfWork, server_ids: list[str], *, automatic: bool) -> None:
    rows = [
        {
            "id": new_id("ver"),
            "server_id": server_id,
            "standing_for": server_id,
            "automatic": automatic,
            "requested_at": uow.now,
        }
        for server_id in server_ids
    ]
    await insert_ignoring(uow, VerificationRow, rows)


async def standing(uow: UnitOfWork, server_id: str) -> str:
    """The id of the verification that the server's agent has to do; empty for none."""
    query = select(VerificationRow.id).where(VerificationRow.standing_for == server_id)
    return await uow.session.scalar(query) or ""


async def newest_proof(uow: UnitOfWork, server_id: str, since: datetime) -> str | None:
    """The server's newest finished verification, if it ended after `since` and found nothing but sameness."""
    query = select(VerificationRow).where(
        VerificationRow.server_id == server_id, VerificationRow.finished_at.is_not(None)
    )
    found = await uow.session.scalar(query.order_by(VerificationRow.finished_at.desc()).limit(1))
    if found is None or found.finished_at is None or found.finished_at < since:
        return None
    is_proof = found.verdict == wire.Verdict.SAME and found.state == WorkState.SUCCEEDED
    return found.id if is_proof else None


async def all_standing(uow: UnitOfWork) -> dict[str, str]:
    """The verifications that agents have to do, by their servers' ids."""
    query = select(VerificationRow.standing_for, VerificationRow.id).where(
        VerificationRow.standing_for.is_not(None)
    )
    return {server: name for server, name in await uow.session.execute(query) if server}


async def order_due(uow: UnitOfWork, every: timedelta) -> int:
    """Order verifications of servers whose last one was ordered longer ago than `every`; how many.

    A server that never had one is due that long after it was enrolled.
    """
    last = (
        select(func.max(VerificationRow.requested_at))
        .where(VerificationRow.server_id == ServerRow.id)
        .scalar_subquery()
    )
    due = select(ServerRow.id).where(
        ServerRow.head_checkpoint_id.is_not(None),
        ServerRow.goal == ReplicationGoal.RUN,
        ServerRow.archived.is_(False),
        ServerRow.lifecycle_state.not_in((LifecycleState.DISCONNECTED, LifecycleState.CUTOVER)),
        func.coalesce(last, ServerRow.created_at) < uow.now - every,
    )
    found = list(await uow.session.scalars(due.order_by(ServerRow.id).limit(MOST_DUE)))
    if found:
        await _order(uow, found, automatic=True)
    return len(found)


async def note_progress(
    uow: UnitOfWork, server_id: str, verification_id: str, progress: wire.Progress
) -> None:
    """The agent runs it, and is so far. Raises VerificationNotFound, also for one that does not stand."""
    started = func.coalesce(VerificationRow.started_at, uow.now)
    running = await uow.changed(
        update(VerificationRow)
        .where(VerificationRow.id == verification_id, VerificationRow.standing_for == server_id)
        .values(
            state=WorkState.RUNNING,
            started_at=started,
            done_bytes=progress.done,
            total_bytes=progress.total,
        )
    )
    if not running:
        raise VerificationNotFound(f"no verification {verification_id} is to be done", remedy="stop it")


async def finish(
    uow: UnitOfWork, server_id: str, verification_id: str, result: wire.Verification
) -> Finished:
    """Keep the result; one that has a result already stays as it is.

    A difference that nobody wrote is said on the server. Raises VerificationNotFound.
    """
    row = await _find(uow, server_id, verification_id)
    verdict = result.verdict
    is_bad = bool(result.code) or verdict is wire.Verdict.DIFFERS
    kept = await uow.changed(
        update(VerificationRow)
        .where(VerificationRow.id == row.id, VerificationRow.standing_for == server_id)
        .values(
            standing_for=None,
            state=WorkState.FAILED if is_bad else WorkState.SUCCEEDED,
            verdict=verdict,
            checkpoint_id=result.checkpoint_id or None,
            started_at=func.coalesce(VerificationRow.started_at, uow.now),
            finished_at=uow.now,
            result=asdict(result),
        )
    )
    if not kept or verdict is not wire.Verdict.DIFFERS:
        return Finished(bool(kept))
    differs = Standing(ReplicationState.RESCAN, ReplicationReason.REPLICA_DIFFERS)
    return Finished(is_new=True, change=settle(uow, await find_server(uow, server_id), differs))


async def get_verification(uow: UnitOfWork, server_id: str, ref: str) -> Verification:
    """One verification by id, or `latest`, with its disks. Raises VerificationNotFound."""
    return verification_view(await _find(uow, server_id, ref))


async def _find(uow: UnitOfWork, server_id: str, ref: str) -> VerificationRow:
    query = select(VerificationRow).where(VerificationRow.server_id == server_id)
    if ref != LATEST:
        query = query.where(VerificationRow.id == ref)
    row = await uow.session.scalar(query.order_by(VerificationRow.id.desc()).limit(1))
    if row is None:
        what = "never verified" if ref == LATEST else f"not verified by {ref!r}"
        raise VerificationNotFound(f"the server was {what}", remedy="order one: go2cloud server verify")
    return row


async def list_verifications(uow: UnitOfWork, server_id: str, page: PageRequest) -> Page[Verification]:
    """The verifications of a server without their disks, the newest first."""
    query = select(VerificationRow).where(VerificationRow.server_id == server_id)
    if page.after is not None:
        query = query.where(VerificationRow.id < page.after)
    rows = list(await uow.session.scalars(query.order_by(VerificationRow.id.desc()).limit(page.limit + 1)))
    items = tuple(verification_view(row, with_disks=False) for row in rows[: page.limit])
    return Page(items, items[-1].id if len(rows) > page.limit else None)
