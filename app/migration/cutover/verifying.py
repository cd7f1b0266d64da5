"""The proof that a replica is its running source (v2), which a cutover wants before it stops anything."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.contract.resources.verification import Verification
from app.contract.words import JobEventLevel, Verdict, WorkState
from app.migration.cutover.source import server_of
from app.migration.launch.building import for_good
from app.migration.services import Services
from app.migration.verification import service as verifications
from app.work.context import Context
from app.work.errors import StepFailed

LOOK_SECONDS: Final = 1.0
UNPROVED: Final = "REPLICA_UNPROVED"


@dataclass(frozen=True)
class Proof:
    """The verification that a cutover relies on, and the doubt about it that a reason passes over."""

    verification_id: str
    passed_over: str | None = None


async def proved(services: Services, context: Context, override: str | None) -> Proof:
    """A verification that is new enough and found the replica to be the source; one is ordered if need be.

    Raises StepFailed REPLICA_DIFFERS, and REPLICA_UNPROVED unless a reason passes over it; StepCancelled.
    """
    server = server_of(context)
    most = timedelta(hours=services.settings.cutover.verify_hours)
    async with services.database.reading() as uow:
        known = await verifications.newest_proof(uow, server, uow.now - most)
    if known is not None:
        context.log(f"verification {known} found the replica to be the source")
        return Proof(known)
    ordered = await for_good(context.write(lambda uow: verifications.request(uow, server)))
    context.log(f"verification {ordered.id} compares the source with its replica")
    return _judged(context, await _finished(services, context, ordered.id), override)


async def _finished(services: Services, context: Context, verification_id: str) -> Verification:
    while True:
        context.check_cancelled()
        async with services.database.reading() as uow:
            found = await verifications.get_verification(uow, server_of(context), verification_id)
        if found.state not in (WorkState.PENDING, WorkState.RUNNING):
            return found
        percent = 100 * found.done_bytes // max(found.total_bytes, 1)
        context.progress(percent, f"{found.done_bytes} of {found.total_bytes} bytes compared")
        await asyncio.sleep(LOOK_SECONDS)


def _judged(context: Context, found: Verification, override: str | None) -> Proof:
    if found.verdict is Verdict.SAME and found.state is WorkState.SUCCEEDED:
        return Proof(found.id)
    if found.verdict is Verdict.DIFFERS:
        raise StepFailed(
            f"verification {found.id} found differences that nobody wrote: the replica is not the source",
            code="REPLICA_DIFFERS",
            remedy="the rescan that follows heals it: wait for it, then order the cutover anew",
        )
    why = found.detail or found.code or "it could not compare everything"
    if override is None:
        raise StepFailed(
            f"verification {found.id} proves nothing: {why}",
            code=UNPROVED,
            remedy="look: go2cloud server verifications; verify again, or override with a reason",
        )
    context.log(f"{UNPROVED} is passed over: {override}; {why}", JobEventLevel.WARNING)
    return Proof(found.id, UNPROVED)
