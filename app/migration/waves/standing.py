"""Whether a run of a wave, or of applications, stands."""

from collections.abc import Sequence

from sqlalchemy import and_, or_, select

from app.kit.database import UnitOfWork
from app.migration.waves.errors import RunStands
from app.migration.waves.tables import WaveRunRow
from app.work.states import STANDING
from app.work.tables import JobRow


async def require_no_run(uow: UnitOfWork, wave_id: str | None, applications: Sequence[str]) -> None:
    """Raises RunStands where a run of the wave itself, or of one of the applications, is not over."""
    of_wave = WaveRunRow.of_wave.is_(True) & (WaveRunRow.wave_id == (wave_id or ""))
    of_applications = WaveRunRow.application_id.in_(applications)
    query = (
        select(WaveRunRow.job_id, WaveRunRow.operation)
        .join(JobRow, JobRow.id == WaveRunRow.job_id)
        .where(JobRow.state.in_(STANDING), or_(of_wave, of_applications))
    )
    found = (await uow.session.execute(query.limit(1))).first()
    if found is not None:
        raise RunStands(
            f"the run {found[0]} ({found[1]}) of these servers is not over",
            remedy=f"wait: go2cloud job watch {found[0]}; or abort it: go2cloud wave abort",
            job=found[0],
        )


async def standing_run(uow: UnitOfWork, *, wave_id: str | None, application_id: str | None) -> str | None:
    """The job of the run of exactly this wave, or application, that is not over."""
    of_wave = and_(WaveRunRow.of_wave.is_(True), WaveRunRow.wave_id == wave_id)
    mine = of_wave if wave_id is not None else and_(WaveRunRow.application_id == (application_id or ""))
    query = select(WaveRunRow.job_id).join(JobRow, JobRow.id == WaveRunRow.job_id)
    found: str | None = await uow.session.scalar(query.where(JobRow.state.in_(STANDING), mine).limit(1))
    return found
