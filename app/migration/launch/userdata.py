"""User-data for the cloud-init of a server's machines: taken, given to a conversion, and never shown."""

from sqlalchemy import delete, select

from app.contract.resources.addressing import CloudInit, digest_of
from app.contract.resources.launch import LaunchSettingsUpdate
from app.kit.database import UnitOfWork
from app.migration.launch.errors import UserDataGone
from app.migration.launch.tables import UserDataRow
from app.migration.servers.tables import ServerRow
from app.work.tables import JobRow


async def taken(uow: UnitOfWork, server: ServerRow, wanted: LaunchSettingsUpdate) -> LaunchSettingsUpdate:
    """The same settings with the digest of their user-data in its place, which is kept by itself.

    Raises UserDataGone for a digest alone that is not that of user-data which is kept.
    """
    given = wanted.cloud_init
    if given is None or (given.user_data is None and given.user_data_sha256 is None):
        return wanted
    if given.user_data is not None:
        await _keep(uow, server.id, given.user_data)
        given = CloudInit(mode=given.mode, user_data_sha256=digest_of(given.user_data))
    else:
        await content_of(uow, server.id, given)
    return wanted.model_copy(update={"cloud_init": given})


async def _keep(uow: UnitOfWork, server_id: str, user_data: str) -> None:
    key = (server_id, digest_of(user_data))
    if await uow.session.get(UserDataRow, key) is None:
        uow.session.add(UserDataRow(server_id=key[0], digest=key[1], content=user_data.encode()))
        await uow.session.flush()


async def drop_unused(uow: UnitOfWork, server: ServerRow, settings: LaunchSettingsUpdate) -> None:
    """Remove what these settings do not name, unless a job stands that may have settled on it."""
    stands = select(JobRow.id).where(JobRow.server_id == server.id, JobRow.finished_at.is_(None))
    if await uow.session.scalar(stands.limit(1)) is not None:
        return
    named = settings.cloud_init.user_data_sha256 if settings.cloud_init else None
    unused = delete(UserDataRow).where(UserDataRow.server_id == server.id)
    await uow.session.execute(unused.where(UserDataRow.digest != (named or "")))


async def content_of(uow: UnitOfWork, server_id: str, wanted: CloudInit) -> str | None:
    """The user-data that is meant; None where there is none. Raises UserDataGone."""
    if wanted.user_data_sha256 is None:
        return None
    row = await uow.session.get(UserDataRow, (server_id, wanted.user_data_sha256))
    if row is None:
        raise UserDataGone(
            f"the user-data with the SHA-256 {wanted.user_data_sha256} is not kept for this server",
            remedy="give the user-data itself: go2cloud server launch-settings --user-data FILE",
        )
    return row.content.decode()
