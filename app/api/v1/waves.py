"""Waves: servers that are tested and cut over together, in order, so many at once."""

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
    MarkedServer,
    Run,
    RunPlan,
    Wave,
    WaveCreate,
    WaveUpdate,
)
from app.contract.wavewords import WaveOperation
from app.kit.transaction import Uow
from app.migration.waves import reports, service, waves
from app.migration.waves.subjects import wave_subject

router = APIRouter(route_class=UnitRoute)


@router.get("/waves")
async def list_waves(
    uow: Uow,
    who: Viewer,
    page: Paging,
    project: Annotated[str | None, Query(description="Id or name")] = None,
    q: Annotated[str | None, Query(description="Part of the name")] = None,
) -> Listing[Wave]:
    """The waves of the caller's projects."""
    return listing(Wave, await service.list_waves(uow, who.scope, page, project=project, q=q))


@router.post("/waves", status_code=status.HTTP_201_CREATED)
async def create_wave(
    uow: Uow, who: Operator, once: Once, record: Audit, response: Response, body: WaveCreate
) -> Wave:
    """Create a wave."""

    async def create() -> Wave:
        made = await service.create_wave(uow, who.scope, body)
        await record("wave.create", made.id, made.project_id, name=made.name)
        return made

    wave = await once(body, create, lambda known: service.get_wave(uow, who.scope, known))
    tag(response, wave)
    return wave


@router.get("/waves/{wave}")
async def get_wave(uow: Uow, who: Viewer, response: Response, wave: str) -> Wave:
    """One wave, by id or name."""
    found = await service.get_wave(uow, who.scope, wave)
    tag(response, found)
    return found


@router.patch("/waves/{wave}")
async def update_wave(
    uow: Uow, who: Operator, record: Audit, response: Response, wave: str, version: IfMatch, body: WaveUpdate
) -> Wave:
    """Change a wave; a run that stands goes on as it was ordered."""
    changed = await service.update_wave(uow, who.scope, wave, version, body)
    details = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    await record("wave.update", changed.id, changed.project_id, **details)
    tag(response, changed)
    return changed


@router.delete("/waves/{wave}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_wave(uow: Uow, who: Operator, record: Audit, wave: str, version: IfMatch) -> None:
    """Remove a wave; its applications stay."""
    removed = await waves.delete_wave(uow, who.scope, wave, version)
    await record("wave.delete", removed.id, removed.project_id, name=removed.name)


async def _operating(
    uow: Uow, serving: Serving, who: Operator, record: Audit, once: Once, response: Response, wave: str
) -> Operating:
    subject = await wave_subject(uow, who.scope, wave)
    return Operating(uow, serving, who, record, once, response, subject)


Operated = Annotated[Operating, Depends(_operating)]
"""The operator of this request at the wave of its path."""


@router.get("/waves/{wave}/plan")
async def plan_wave(
    uow: Uow, serving: Serving, who: Viewer, wave: str, operation: WaveOperation = WaveOperation.TEST
) -> RunPlan:
    """What an operation would do now, in its order, and which servers would be refused, and why."""
    return await service.plan(serving, uow, await wave_subject(uow, who.scope, wave), operation)


@router.get("/waves/{wave}/runs")
async def list_wave_runs(uow: Uow, who: Viewer, page: Paging, wave: str) -> Listing[Run]:
    """The runs of the wave without their servers, the newest first."""
    subject = await wave_subject(uow, who.scope, wave)
    return listing(Run, await reports.list_runs(uow, subject, page))


@router.get("/waves/{wave}/runs/{job}")
async def get_wave_run(
    uow: Uow, who: Viewer, wave: str, job: Annotated[str, Path(description="Id of the job, or latest")]
) -> Run:
    """The summary of a run: counts, durations, who failed and why."""
    return await reports.get_run(uow, await wave_subject(uow, who.scope, wave), job)


@router.post("/waves/{wave}:test", status_code=status.HTTP_202_ACCEPTED)
async def test_wave(here: Operated) -> Job:
    """Test the servers of the wave in their order."""
    return await here.order(WaveOperation.TEST)


@router.post("/waves/{wave}:terminateTest", status_code=status.HTTP_202_ACCEPTED)
async def terminate_wave_test(here: Operated) -> Job:
    """End the test machines of the wave's servers, in any order; the evidence stays."""
    return await here.order(WaveOperation.TERMINATE_TEST)


@router.post("/waves/{wave}:cutover", status_code=status.HTTP_202_ACCEPTED)
async def cut_wave_over(here: Operated, body: CutoverOrder | None = None) -> Job:
    """Move the servers to their targets in their order, each as `POST /servers/{id}:cutover` does."""
    return await here.order(WaveOperation.CUTOVER, body or CutoverOrder())


@router.post("/waves/{wave}:finalize", status_code=status.HTTP_202_ACCEPTED)
async def finalize_wave(here: Operated) -> Job:
    """End the replication of the wave's servers that were cut over; there is no way back after it."""
    return await here.order(WaveOperation.FINALIZE)


@router.post("/waves/{wave}:revert", status_code=status.HTTP_202_ACCEPTED)
async def revert_wave(here: Operated) -> Job:
    """Take back what was done to the wave's servers, the last in their order first."""
    return await here.order(WaveOperation.REVERT)


@router.post("/waves/{wave}:markReady")
async def mark_wave_ready(here: Operated, body: ReadyMark | None = None) -> Listing[MarkedServer]:
    """Let each server that may be READY_FOR_CUTOVER be so; those that may not say why."""
    return whole(MarkedServer, await here.mark_ready(body or ReadyMark()))


@router.post("/waves/{wave}:abort", status_code=status.HTTP_202_ACCEPTED)
async def abort_wave_run(here: Operated, body: AbortOrder | None = None) -> Run:
    """Let the run that stands begin no more servers; what runs goes on to its end, or is cancelled."""
    return await here.abort(body or AbortOrder())
