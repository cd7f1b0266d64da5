"""What a run is of: a wave, or one application with the bounds of its wave."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from app.contract.paging import Scope
from app.contract.resources.wave import DEFAULT_AT_ONCE
from app.kit.database import UnitOfWork
from app.migration.servers.tables import ServerRow
from app.migration.waves.applications import find_application
from app.migration.waves.errors import NothingToRun
from app.migration.waves.ordering import Direction, Turn, turns
from app.migration.waves.parts import parts_of_project
from app.migration.waves.progress import Bounds
from app.migration.waves.tables import ApplicationRow, WaveRow
from app.migration.waves.waves import applications_of, find_wave


@dataclass(frozen=True)
class Subject:
    """A wave (`application` is None), or an application, with its wave where it has one."""

    project_id: str
    wave: WaveRow | None
    application: ApplicationRow | None
    applications: tuple[str, ...]

    @property
    def id(self) -> str:
        """The id of what the run is of."""
        found = self.application or self.wave
        assert found is not None
        return found.id

    @property
    def noun(self) -> str:
        """The word for it."""
        return "wave" if self.application is None else "application"

    @property
    def name(self) -> str:
        """Its name."""
        found = self.application or self.wave
        assert found is not None
        return found.name

    @property
    def limit_key(self) -> str:
        """The limit that its servers share with all others of the wave."""
        return f"wave:{self.wave.id}" if self.wave is not None else f"application:{self.id}"

    @property
    def bounds(self) -> Bounds:
        """The wave's; an application without a wave has what a new wave would have."""
        if self.wave is None:
            return Bounds(DEFAULT_AT_ONCE)
        return Bounds(self.wave.servers_at_once, self.wave.stop_after_failures)


async def wave_subject(uow: UnitOfWork, scope: Scope, ref: str) -> Subject:
    """A wave by id or name. Raises WaveNotFound."""
    wave = await find_wave(uow, scope, ref)
    return Subject(wave.project_id, wave, None, tuple(await applications_of(uow, wave.id)))


async def application_subject(uow: UnitOfWork, scope: Scope, ref: str) -> Subject:
    """An application by id or name. Raises ApplicationNotFound."""
    application = await find_application(uow, scope, ref)
    wave = None
    if application.wave_id is not None:
        wave = await uow.session.get(WaveRow, application.wave_id, populate_existing=True)
    return Subject(application.project_id, wave, application, (application.id,))


@dataclass(frozen=True)
class Lineup:
    """The servers of a subject in their order, and their rows and applications by id."""

    turns: tuple[Turn, ...]
    servers: Mapping[str, ServerRow]
    applications: Mapping[str, str]

    @property
    def names(self) -> dict[str, str]:
        """The names of the servers by their ids."""
        return {server.id: server.name for server in self.servers.values()}


async def lineup(uow: UnitOfWork, subject: Subject, direction: Direction) -> Lineup:
    """The servers of a subject as they stand now. Raises NothingToRun where it has none."""
    parts = await parts_of_project(uow, subject.project_id, subject.applications)
    found = turns(parts, direction)
    if not found:
        raise NothingToRun(
            f"no server belongs to {subject.noun} {subject.name!r}",
            remedy="add some: go2cloud application add APPLICATION SERVER, and go2cloud wave add WAVE "
            "APPLICATION",
        )
    query = select(ServerRow).where(ServerRow.id.in_([turn.server_id for turn in found]))
    rows = await uow.session.scalars(query.execution_options(populate_existing=True))
    return Lineup(found, {row.id: row for row in rows}, {part.id: part.name for part in parts})
