"""Applications: servers that belong together, with the order among them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response, status

from app.api.audit import Audit
from app.api.auth import Operator, Viewer
from app.api.bodies import UnitRoute
from app.api.conditional import IfMatch, tag
from app.api.context import Serving
from app.api.paging import Paging, listing, whole
from app.api.repeats import Once
from app.api.runs import Operating
from app.contract.resources.base import Listing
from app.contract.resources.cutover import CutoverOrder
from app.contract.resources.job import Job
from app.contract.resources.launch import ReadyMark
from app.contract.resources.wave import (
    AbortOrder,
    Application,
    ApplicationCreate,
    ApplicationUpdate,
    MarkedServer,
    Run,
    RunPlan,
)
from app.contract.wavewords import WaveOperation
from app.kit.transaction import Uow
from app.migration.waves import applications, reports, service
from app.migration.waves.subjects import application_subject

router = APIRouter(route_class=UnitRoute)


@router.get("/applications")
async def list_applications(
    uow: Uow,
    who: Viewer,
    page: Paging,
    project: Annotated[str | None, Query(description="Id or name")] = None,
    wave: Annotated[str | None, Query(description="Id or name")] = None,
    q: Annotated[str | None, Query(description="Part of the name")] = None,
) -> Listing[Application]:
    """The applications of the caller's projects."""
    return listing(
        Application, await service.list_applications(uow, who.scope, page, project=project, wave=wave, q=q)
    )


@router.post("/applications", status_code=status.HTTP_201_CREATED)
async def create_application(
    uow: Uow, who: Operator, once: Once, record: Audit, response: Response, body: ApplicationCreate
) -> Application:
    """Create an application."""

    async def create() -> Application:
        made = await service.create_application(uow, who.scope, body)
        await record("application.create", made.id, made.project_id, name=made.name)
        return made

    application = await once(body, create, lambda known: service.get_application(uow, who.scope, known))
    tag(response, application)
    return application


@router.get("/applications/{application}")
async def get_application(uow: Uow, who: Viewer, response: Response, application: str) -> Application:
    """One application, by id or name."""
    found = await service.get_application(uow, who.scope, application)
    tag(response, found)
    return found


@router.patch("/applications/{application}")
async def update_application(
    uow: Uow,
    who: Operator,
    record: Audit,
    response: Response,
    application: str,
    version: IfMatch,
    body: ApplicationUpdate,
) -> Application:
    """Change an application; a run that stands goes on as it was ordered."""
    changed = await service.update_application(uow, who.scope, application, version, body)
    details = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("application.update", changed.id, changed.project_id, **details)
    tag(response, changed)
    return changed


@router.delete("/applications/{application}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_application(
    uow: Uow, who: Operator, record: Audit, application: str, version: IfMatch
) -> None:
    """Remove an application; its servers stay."""
    removed = await applications.delete_application(uow, who.scope, application, version)
    await record("application.delete", removed.id, removed.project_id, name=removed.name)


async def _operating(
    uow: Uow, serving: Serving, who: Operator, record: Audit, once: Once, response: Response, application: str
) -> Operating:
    subject = await application_subject(uow, who.scope, application)
    return Operating(uow, serving, who, record, once, response, subject)


Operated = Annotated[Operating, Depends(_operating)]
"""The operator of this request at the application of its path."""


@router.get("/applications/{application}/plan")
async def plan_application(
    uow: Uow, serving: Serving, who: Viewer, application: str, operation: WaveOperation = WaveOperation.TEST
) -> RunPlan:
    """What an operation would do now, in its order, and which servers would be refused, and why."""
    return await service.plan(serving, uow, await application_subject(uow, who.scope, application), operation)


@router.get("/applications/{application}/runs")
async def list_application_runs(uow: Uow, who: Viewer, page: Paging, application: str) -> Listing[Run]:
    """The runs of the application without their servers, the newest first."""
    subject = await application_subject(uow, who.scope, application)
    return listing(Run, await reports.list_runs(uow, subject, page))


@router.get("/applications/{application}/runs/{job}")
async def get_application_run(
    uow: Uow, who: Viewer, application: str, job: Annotated[str, Path(description="Id of the job, or latest")]
) -> Run:
    """The summary of a run: counts, durations, who failed and why."""
    return await reports.get_run(uow, await application_subject(uow, who.scope, application), job)


@router.post("/applications/{application}:test", status_code=status.HTTP_202_ACCEPTED)
async def test_application(here: Operated) -> Job:
    """Test the servers of the application in their order."""
    return await here.order(WaveOperation.TEST)


@router.post("/applications/{application}:terminateTest", status_code=status.HTTP_202_ACCEPTED)
async def terminate_application_test(here: Operated) -> Job:
    """End the test machines of the application's servers, in any order; the evidence stays."""
    return await here.order(WaveOperation.TERMINATE_TEST)


@router.post("/applications/{application}:cutover", status_code=status.HTTP_202_ACCEPTED)
async def cut_application_over(here: Operated, body: CutoverOrder | None = None) -> Job:
    """Move the servers to their targets in their order, each as `POST /servers/{id}:cutover` does."""
    return await here.order(WaveOperation.CUTOVER, body or CutoverOrder())


@router.post("/applications/{application}:finalize", status_code=status.HTTP_202_ACCEPTED)
async def finalize_application(here: Operated) -> Job:
    """End the replication of the application's servers that were cut over; there is no way back after it."""
    return await here.order(WaveOperation.FINALIZE)


@router.post("/applications/{application}:revert", status_code=status.HTTP_202_ACCEPTED)
async def revert_application(here: Operated) -> Job:
    """Take back what was done to the application's servers, the last in their order first."""
    return await here.order(WaveOperation.REVERT)


@router.post("/applications/{application}:markReady")
async def mark_application_ready(here: Operated, body: ReadyMark | None = None) -> Listing[MarkedServer]:
    """Let each server that may be READY_FOR_CUTOVER be so; those that may not say why."""
    return whole(MarkedServer, await here.mark_ready(body or ReadyMark()))


@router.post("/applications/{application}:abort", status_code=status.HTTP_202_ACCEPTED)
async def abort_application_run(here: Operated, body: AbortOrder | None = None) -> Run:
    """Let the run that stands begin no more servers; what runs goes on to its end, or is cancelled."""
    return await here.abort(body or AbortOrder())
