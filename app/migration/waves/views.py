"""Waves, applications and runs as the contract shows them."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select

from app.contract.resources.wave import (
    Application,
    ApplicationServer,
    MarkedServer,
    Named,
    PlannedServer,
    RunHead,
    RunPlan,
    StateCount,
    Wave,
)
from app.contract.wavewords import WaveOperation
from app.contract.words import LifecycleState, WorkState
from app.kit.database import UnitOfWork
from app.migration.projects.service import project_names
from app.migration.servers.states import allowed
from app.migration.servers.tables import ServerRow
from app.migration.waves.runs import Mark, Plan
from app.migration.waves.subjects import Subject
from app.migration.waves.tables import (
    ApplicationOrderRow,
    ApplicationRow,
    ApplicationServerRow,
    WaveRow,
    WaveRunRow,
)
from app.work.tables import JobRow


async def application_views(uow: UnitOfWork, rows: Sequence[ApplicationRow]) -> tuple[Application, ...]:
    """Applications with their servers, the lowest group first."""
    ids = [row.id for row in rows]
    projects = await project_names(uow, frozenset(row.project_id for row in rows))
    waves = await _wave_names(uow, [row.wave_id for row in rows if row.wave_id])
    servers, after = await _servers(uow, ids), await _after(uow, ids)
    return tuple(
        Application(
            id=row.id,
            project_id=row.project_id,
            project_name=projects.get(row.project_id, ""),
            name=row.name,
            description=row.description,
            wave=waves.get(row.wave_id or ""),
            after=tuple(after.get(row.id, ())),
            servers=tuple(servers.get(row.id, ())),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    )


async def _wave_names(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, Named]:
    rows = await uow.session.execute(select(WaveRow.id, WaveRow.name).where(WaveRow.id.in_(ids)))
    return {row.id: Named(id=row.id, name=row.name) for row in rows}


async def _servers(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, list[ApplicationServer]]:
    query = (
        select(ApplicationServerRow, ServerRow)
        .join(ServerRow, ServerRow.id == ApplicationServerRow.server_id)
        .where(ApplicationServerRow.application_id.in_(ids))
        .order_by(ApplicationServerRow.priority_group, ServerRow.name)
    )
    found: dict[str, list[ApplicationServer]] = defaultdict(list)
    for member, server in await uow.session.execute(query):
        state = LifecycleState(server.lifecycle_state)
        found[member.application_id].append(
            ApplicationServer(
                id=server.id,
                name=server.name,
                group=member.priority_group,
                lifecycle_state=state,
                allowed_operations=allowed(state),
            )
        )
    return found


async def _after(uow: UnitOfWork, ids: Sequence[str]) -> dict[str, list[Named]]:
    query = (
        select(ApplicationOrderRow.application_id, ApplicationRow.id, ApplicationRow.name)
        .join(ApplicationRow, ApplicationRow.id == ApplicationOrderRow.after_id)
        .where(ApplicationOrderRow.application_id.in_(ids))
        .order_by(ApplicationRow.name)
    )
    found: dict[str, list[Named]] = defaultdict(list)
    for application, after, name in await uow.session.execute(query):
        found[application].append(Named(id=after, name=name))
    return found


async def wave_views(uow: UnitOfWork, rows: Sequence[WaveRow]) -> tuple[Wave, ...]:
    """Waves with their applications, how many servers are in which state, and the newest run."""
    ids = [row.id for row in rows]
    projects = await project_names(uow, frozenset(row.project_id for row in rows))
    applications, states = await _applications(uow, ids), await _states(uow, ids)
    runs = await _newest_runs(uow, ids)
    return tuple(
        Wave(
            id=row.id,
            project_id=row.project_id,
            project_name=projects.get(row.project_id, ""),
            name=row.name,
            description=row.description,
            planned_at=row.planned_at,
            servers_at_once=row.servers_at_once,
            stop_after_failures=row.stop_after_failures,
            applications=tuple(applications.get(row.id, ())),
            server_count=states[row.id].total(),
            states=tuple(
                StateCount(state=state, servers=states[row.id][state])
                for state in LifecycleState
                if states[row.id][state]
            ),
            run=runs.get(row.id),
            created_at=row.created_at,
            version=row.version,
        )
        for row in rows
    )


async def _applications(uow: UnitOfWork, waves: Sequence[str]) -> dict[str, list[Named]]:
    query = select(ApplicationRow).where(ApplicationRow.wave_id.in_(waves)).order_by(ApplicationRow.name)
    found: dict[str, list[Named]] = defaultdict(list)
    for row in await uow.session.scalars(query):
        found[row.wave_id or ""].append(Named(id=row.id, name=row.name))
    return found


async def _states(uow: UnitOfWork, waves: Sequence[str]) -> dict[str, Counter[LifecycleState]]:
    query = (
        select(ApplicationRow.wave_id, ServerRow.lifecycle_state, func.count())
        .join(ApplicationServerRow, ApplicationServerRow.application_id == ApplicationRow.id)
        .join(ServerRow, ServerRow.id == ApplicationServerRow.server_id)
        .where(ApplicationRow.wave_id.in_(waves))
        .group_by(ApplicationRow.wave_id, ServerRow.lifecycle_state)
    )
    found: dict[str, Counter[LifecycleState]] = defaultdict(Counter)
    for wave, state, count in await uow.session.execute(query):
        found[wave or ""][LifecycleState(state)] = count
    return found


async def _newest_runs(uow: UnitOfWork, waves: Sequence[str]) -> dict[str, RunHead]:
    newest = (
        select(func.max(WaveRunRow.job_id))
        .where(WaveRunRow.wave_id.in_(waves), WaveRunRow.of_wave.is_(True))
        .group_by(WaveRunRow.wave_id)
    )
    query = (
        select(WaveRunRow.wave_id, WaveRunRow.job_id, WaveRunRow.operation, JobRow.state)
        .join(JobRow, JobRow.id == WaveRunRow.job_id)
        .where(WaveRunRow.job_id.in_(newest))
    )
    return {
        wave or "": RunHead(job_id=job, operation=WaveOperation(operation), state=WorkState(state))
        for wave, job, operation, state in await uow.session.execute(query)
    }


def plan_view(subject: Subject, plan: Plan) -> RunPlan:
    """What a run would do now."""
    return RunPlan(
        operation=plan.operation,
        servers_at_once=subject.bounds.at_once,
        stop_after_failures=subject.bounds.stop_after,
        servers=tuple(_planned(plan, position) for position in range(len(plan.lineup.turns))),
    )


def _planned(plan: Plan, position: int) -> PlannedServer:
    found, turn = plan.lineup, plan.lineup.turns[position]
    server, why = found.servers[turn.server_id], plan.reasons.get(turn.server_id)
    names = found.names
    return PlannedServer(
        position=position + 1,
        server=Named(id=server.id, name=server.name),
        application=Named(id=turn.application_id, name=found.applications[turn.application_id]),
        group=turn.group,
        lifecycle_state=LifecycleState(server.lifecycle_state),
        after=tuple(sorted(names[each] for each in turn.after)),
        state=plan.standing.states[server.id],
        code=why.code if why else None,
        detail=why.detail if why else None,
        remedy=why.remedy if why else None,
    )


def mark_view(mark: Mark) -> MarkedServer:
    """A server that was marked, or refused."""
    refusal = mark.refusal
    return MarkedServer(
        server=Named(id=mark.server.id, name=mark.server.name),
        marked=mark.marked is not None,
        code=refusal.code if refusal else None,
        detail=refusal.detail if refusal else None,
        remedy=refusal.remedy if refusal else None,
    )
