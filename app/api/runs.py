"""What the routes about runs of waves and of applications have in common: ordering, marking, aborting."""

from dataclasses import dataclass

from fastapi import Response

from app.api.audit import Auditor
from app.api.repeats import Repeats
from app.contract.resources.cutover import CutoverOrder
from app.contract.resources.job import Job
from app.contract.resources.launch import ReadyMark
from app.contract.resources.wave import AbortOrder, MarkedServer, Run, RunOrder
from app.contract.wavewords import WaveOperation
from app.kit.database import UnitOfWork
from app.kit.errors import Json
from app.migration.access.principals import Principal
from app.migration.catalogue.jobs import get_job
from app.migration.services import Services
from app.migration.waves import reports, runs
from app.migration.waves.operations import Wish
from app.migration.waves.subjects import Subject
from app.migration.waves.views import mark_view


@dataclass(frozen=True)
class Operating:
    """An operator at a wave or application, in one request."""

    uow: UnitOfWork
    services: Services
    who: Principal
    record: Auditor
    once: Repeats
    response: Response
    subject: Subject

    async def order(self, operation: WaveOperation, cutover: CutoverOrder | None = None) -> Job:
        """Order a run, once for each Idempotency-Key; its job."""
        wish = Wish(self.who.name, cutover=cutover or CutoverOrder())

        async def create() -> Job:
            job = await runs.order_run(self.services, self.uow, self.subject, operation, wish)
            details = {} if cutover is None else cutover.model_dump(mode="json", by_alias=True)
            await self._record(operation, job=job, **details)
            return await get_job(self.uow, self.who.scope, job)

        job = await self.once(
            cutover or RunOrder(), create, lambda known: get_job(self.uow, self.who.scope, known)
        )
        self.response.headers["Location"] = f"/api/v1/jobs/{job.id}"
        return job

    async def mark_ready(self, mark: ReadyMark) -> tuple[MarkedServer, ...]:
        """Mark each server that may be; an override is in the audit trail of each."""
        marks = await runs.mark_all_ready(self.services, self.uow, self.subject, mark)
        await self._record(WaveOperation.MARK_READY, override=mark.override)
        for each in marks:
            if each.marked is not None:
                await self.record(
                    "server.markReady",
                    each.server.id,
                    each.server.project_id,
                    test=each.marked.test_id,
                    passedOver=each.marked.passed_over,
                    override=mark.override,
                )
        return tuple(mark_view(each) for each in marks)

    async def abort(self, wanted: AbortOrder) -> Run:
        """Abort the run that stands; how it stands then."""
        job = await runs.abort_run(self.services, self.uow, self.subject, wanted.running, self.who.name)
        action = f"{self.subject.noun}.abort"
        await self.record(
            action, self.subject.id, self.subject.project_id, job=job, running=wanted.running.value
        )
        return await reports.run_view(self.uow, job)

    async def _record(self, operation: WaveOperation, **details: Json) -> None:
        action = f"{self.subject.noun}.{operation}"
        await self.record(action, self.subject.id, self.subject.project_id, **details)
