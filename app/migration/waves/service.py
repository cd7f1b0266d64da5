"""Waves and applications as the contract shows them; what is outside of the caller's scope is not found."""

from app.contract.paging import Page, PageRequest, Scope
from app.contract.resources.wave import (
    Application,
    ApplicationCreate,
    ApplicationUpdate,
    RunPlan,
    Wave,
    WaveCreate,
    WaveUpdate,
)
from app.contract.wavewords import WaveOperation
from app.kit.database import UnitOfWork
from app.migration.services import Services
from app.migration.waves import applications, runs, waves
from app.migration.waves.subjects import Subject
from app.migration.waves.views import application_views, plan_view, wave_views


async def list_waves(
    uow: UnitOfWork, scope: Scope, page: PageRequest, *, project: str | None, q: str | None
) -> Page[Wave]:
    """Waves in the order of their making. Raises ProjectNotFound."""
    found = await waves.page_of_waves(uow, scope, page, project=project, q=q)
    return Page(await wave_views(uow, found.items), found.next_after)


async def get_wave(uow: UnitOfWork, scope: Scope, ref: str) -> Wave:
    """One wave by id or name. Raises WaveNotFound."""
    (view,) = await wave_views(uow, [await waves.find_wave(uow, scope, ref)])
    return view


async def create_wave(uow: UnitOfWork, scope: Scope, wanted: WaveCreate) -> Wave:
    """Create a wave; raises as `waves.create_wave`."""
    (view,) = await wave_views(uow, [await waves.create_wave(uow, scope, wanted)])
    return view


async def update_wave(uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: WaveUpdate) -> Wave:
    """Change a wave; raises as `waves.update_wave`."""
    (view,) = await wave_views(uow, [await waves.update_wave(uow, scope, ref, version, changes)])
    return view


async def list_applications(
    uow: UnitOfWork, scope: Scope, page: PageRequest, *, project: str | None, wave: str | None, q: str | None
) -> Page[Application]:
    """Applications in the order of their making. Raises ProjectNotFound, WaveNotFound."""
    wave_id = None if wave is None else (await waves.find_wave(uow, scope, wave)).id
    found = await applications.page_of_applications(uow, scope, page, project=project, wave_id=wave_id, q=q)
    return Page(await application_views(uow, found.items), found.next_after)


async def get_application(uow: UnitOfWork, scope: Scope, ref: str) -> Application:
    """One application by id or name. Raises ApplicationNotFound."""
    (view,) = await application_views(uow, [await applications.find_application(uow, scope, ref)])
    return view


async def create_application(uow: UnitOfWork, scope: Scope, wanted: ApplicationCreate) -> Application:
    """Create an application; raises as `applications.create_application`."""
    (view,) = await application_views(uow, [await applications.create_application(uow, scope, wanted)])
    return view


async def update_application(
    uow: UnitOfWork, scope: Scope, ref: str, version: int, changes: ApplicationUpdate
) -> Application:
    """Change an application; raises as `applications.update_application`."""
    changed = await applications.update_application(uow, scope, ref, version, changes)
    (view,) = await application_views(uow, [changed])
    return view


async def plan(services: Services, uow: UnitOfWork, subject: Subject, operation: WaveOperation) -> RunPlan:
    """What a run would do now. Raises NothingToRun."""
    return plan_view(subject, await runs.plan_run(services, uow, subject, operation))
