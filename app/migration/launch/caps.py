"""What operators may order of a machine: at most LAUNCH.CPUS and LAUNCH.MEMORY; administrators, more."""

from app.contract.resources.launch import LaunchSettingsUpdate
from app.kit.amounts import size_text
from app.kit.database import UnitOfWork
from app.kit.settings import LaunchingSettings
from app.migration.launch.errors import MachineTooLarge
from app.migration.launch.tables import LaunchSettingsRow
from app.migration.servers.tables import ServerRow


async def require_within(
    uow: UnitOfWork, server: ServerRow, wanted: LaunchSettingsUpdate, caps: LaunchingSettings
) -> None:
    """Raises MachineTooLarge for more than the caps, unless that was set already: an administrator did."""
    row = await uow.session.get(LaunchSettingsRow, server.id)
    known = LaunchSettingsUpdate.model_validate(row.settings if row else {})
    if wanted.cpus is not None and wanted.cpus > max(caps.cpus, known.cpus or 0):
        raise _refusal(server, f"{wanted.cpus} processors", f"LAUNCH.CPUS allows {caps.cpus}")
    if wanted.memory_bytes is not None and wanted.memory_bytes > max(caps.memory, known.memory_bytes or 0):
        allowed = f"LAUNCH.MEMORY allows {size_text(caps.memory)}"
        raise _refusal(server, f"{size_text(wanted.memory_bytes)} of memory", allowed)


def _refusal(server: ServerRow, what: str, allowed: str) -> MachineTooLarge:
    return MachineTooLarge(
        f"a machine of server {server.name!r} cannot have {what}: {allowed}",
        remedy="order less, or ask an administrator to set it",
    )
