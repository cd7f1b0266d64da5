"""Launch settings of a server: reading them with the machine that comes of them, and changing them."""

from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from app.contract.resources.launch import LaunchMachine, LaunchSettings, LaunchSettingsUpdate
from app.contract.words import TargetMakes
from app.kit.database import UnitOfWork
from app.kit.settings import LaunchingSettings
from app.migration.launch import userdata
from app.migration.launch.addressing import require_addressing
from app.migration.launch.errors import LaunchSettingsChanged
from app.migration.launch.machines import effective, require_possible
from app.migration.launch.tables import LaunchSettingsRow
from app.migration.servers.tables import ServerRow
from app.migration.targets.service import find_making
from app.migration.targets.tables import TargetRow
from app.wire import jsonform, messages

NEVER_SET = 0
"""The version of settings that nobody set yet."""


async def get_settings(uow: UnitOfWork, server: ServerRow, caps: LaunchingSettings) -> LaunchSettings:
    """What is set, and the machine that it makes of the source as its agent last reported it."""
    row = await uow.session.get(LaunchSettingsRow, server.id, populate_existing=True)
    settings = LaunchSettingsUpdate.model_validate(row.settings if row else {})
    return LaunchSettings(
        server_id=server.id,
        settings=settings,
        machine=machine_of(server, settings, caps),
        version=row.version if row else NEVER_SET,
    )


def machine_of(server: ServerRow, settings: LaunchSettingsUpdate, caps: LaunchingSettings) -> LaunchMachine:
    """The machine that settings make of a server."""
    return effective(settings, jsonform.build(messages.Inventory, server.inventory), caps)


async def put_settings(
    uow: UnitOfWork, server: ServerRow, version: int, wanted: LaunchSettingsUpdate, caps: LaunchingSettings
) -> LaunchSettings:
    """Set the settings that are at `version`.

    Raises LaunchSettingsChanged, SettingsWrong, AddressingWrong, CloudInitWrong, UserDataGone,
    TargetNotFound, TargetUnfit.
    """
    await machine_target(uow, server, wanted)
    require_addressing(wanted, jsonform.build(messages.Inventory, server.inventory))
    wanted = await userdata.taken(uow, server, wanted)
    require_possible(machine_of(server, wanted, caps))
    values = {"settings": wanted.model_dump(mode="json", exclude_unset=True), "updated_at": uow.now}
    if version == NEVER_SET:
        await _insert(uow, server, values)
    elif not await uow.changed(
        update(LaunchSettingsRow)
        .where(LaunchSettingsRow.server_id == server.id, LaunchSettingsRow.version == version)
        .values(version=version + 1, **values)
    ):
        raise _changed(server)
    await userdata.drop_unused(uow, server, wanted)
    return await get_settings(uow, server, caps)


async def machine_target(
    uow: UnitOfWork, server: ServerRow, settings: LaunchSettingsUpdate
) -> TargetRow | None:
    """The target that these settings name for a server's machines; None for the built-in one.

    Raises TargetNotFound, TargetUnfit.
    """
    if settings.target is None:
        return None
    return await find_making(uow, server.project_id, settings.target, TargetMakes.MACHINES)


async def _insert(uow: UnitOfWork, server: ServerRow, values: dict[str, object]) -> None:
    if await uow.session.get(LaunchSettingsRow, server.id) is not None:
        raise _changed(server)
    uow.session.add(LaunchSettingsRow(server_id=server.id, version=NEVER_SET + 1, **values))
    try:
        await uow.session.flush()
    except IntegrityError as error:
        raise _changed(server) from error


def _changed(server: ServerRow) -> LaunchSettingsChanged:
    return LaunchSettingsChanged(
        f"the launch settings of server {server.name!r} were changed since they were read",
        remedy="read them again and repeat the change",
    )
