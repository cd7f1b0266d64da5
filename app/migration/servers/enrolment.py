"""How a source host becomes a server, and how its one live agent is told from a copy of it.

A server's identity is its credential. The agent instance (state directory, boot) holds a lease that each
call renews; another instance with the same credential is refused until the lease has ended or was released.
While the source is held for a cutover a copy of it may run as the launched machine: then another instance is
refused for as long as that lasts, unless it proves to be the agent that holds (`app.migration.hold`).
"""

from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import or_, select, update

from app.contract.words import LifecycleState
from app.kit.database import UnitOfWork
from app.kit.errors import Invalid
from app.kit.ids import new_id
from app.migration.access.agents import issue_agent_credential
from app.migration.access.install_tokens import InstallGrant, redeem_install_token
from app.migration.hold.leaving import forget_holder
from app.migration.projects.service import hold_project
from app.migration.servers.errors import DuplicateAgent, ServerDisconnected, ServerNotFound
from app.migration.servers.reenrolment import claimed_server, fence_older_agent, note_taken_up
from app.migration.servers.reverses import require_reversible
from app.migration.servers.tables import DiskRow, ServerRow
from app.wire.chunks import CHUNK_SIZE
from app.wire.messages import Disk, Enroll, Enrolled, Inventory

MOST_KEY = 255
MOST_PATH = 1024
MOST_NAME = 253
MOST_BYTES = 1 << 50


async def enroll(
    uow: UnitOfWork, message: Enroll, lease: timedelta, request_id: str | None = None
) -> Enrolled:
    """Redeem the install token: the host takes up the server that it is known to be, or becomes a new one of
    the token's project. It gets a credential that only this server has; an older one is worthless. After a
    cutover that was taken back without its source the new agent is believed without the lost one's proof.
    For a `lease` it counts as alive.

    Raises the errors of `redeem_install_token` and `claimed_server`, and ReverseRefused for the token of a
    way back.
    """
    grant = await redeem_install_token(uow, message.token)
    await hold_project(uow, grant.project_id)
    claimed = await claimed_server(uow, grant, message, lease)
    stopped_for = None
    if claimed is not None:
        stopped_for = await forget_holder(uow, claimed)
        await note_taken_up(uow, claimed, grant, message, request_id, stopped_for)
        await fence_older_agent(uow, claimed, message.instance)
        claimed.agent_version = message.agent_version[:64]
        await note_inventory(uow, claimed, message.inventory)
    server = claimed or await _new_server(uow, grant, message)
    credential = await issue_agent_credential(uow, server.id)
    return Enrolled(server.id, server.name, credential, claimed is not None, stopped_for)


async def _new_server(uow: UnitOfWork, grant: InstallGrant, message: Enroll) -> ServerRow:
    hostname = message.inventory.hostname[:MOST_NAME] or "server"
    wanted = hostname
    if grant.reverse_of is not None:
        source = await require_reversible(uow, grant.reverse_of, message.inventory)
        wanted = f"{source.name[: MOST_NAME - 12]}-reverse"
    name = await _free_name(uow, grant.project_id, wanted[: MOST_NAME - 4])
    server = ServerRow(
        id=new_id("srv"),
        project_id=grant.project_id,
        name=name,
        hostname=hostname,
        machine_id=message.inventory.machine_id[:64],
        instance=message.instance,
        agent_version=message.agent_version[:64],
        inventory=asdict(message.inventory),
        created_at=uow.now,
        last_seen_at=uow.now,
        reverse_of=grant.reverse_of,
    )
    uow.session.add(server)
    await uow.session.flush()
    await register_disks(uow, server.id, message.inventory.disks)
    return server


async def _free_name(uow: UnitOfWork, project_id: str, hostname: str) -> str:
    """The name, with a number behind it where the project has such a server already; the project is held."""
    taken = set(
        await uow.session.scalars(
            select(ServerRow.name).where(
                ServerRow.project_id == project_id, ServerRow.name.startswith(hostname, autoescape=True)
            )
        )
    )
    candidates = (hostname, *(f"{hostname}-{number}" for number in range(2, len(taken) + 3)))
    return next(name for name in candidates if name not in taken)


async def hold_lease(
    uow: UnitOfWork, server_id: str, instance: str, lease: timedelta, *, may_take: bool = True
) -> ServerRow:
    """Renew the lease of an agent instance and note that it was seen.

    One that holds it not may take it when it is free, unless `may_take` is false: it might be a copy.

    Raises DuplicateAgent while another instance holds the lease, ServerDisconnected after a disconnect.
    """
    free = or_(
        ServerRow.instance.in_((instance, "")),
        ServerRow.lease_until.is_(None),
        ServerRow.lease_until < uow.now,
    )
    free = free if may_take else ServerRow.instance == instance
    renewed = await uow.changed(
        update(ServerRow)
        .where(ServerRow.id == server_id, free)
        .values(instance=instance, lease_until=uow.now + lease, last_seen_at=uow.now)
    )
    server = await find_server(uow, server_id)
    if not renewed and not may_take:
        raise _not_the_holder(server)
    if not renewed:
        raise DuplicateAgent(
            f"another live agent replicates server {server.name}",
            remedy="stop the copy of the agent; a moved agent may go on when the other's lease has ended",
            leaseUntil=server.lease_until.isoformat() if server.lease_until else None,
        )
    if server.lifecycle_state == LifecycleState.DISCONNECTED:
        raise ServerDisconnected(f"server {server.name} was disconnected", remedy="enrol the host again")
    return server


def _not_the_holder(server: ServerRow) -> DuplicateAgent:
    """The refusal of an agent that may be that of the launched machine."""
    return DuplicateAgent(
        f"server {server.name} is held for a cutover, and this agent has not the proof of the one that "
        "holds it: it counts as a copy",
        remedy="in the launched machine stop the agent, or enrol it with the token of: go2cloud server "
        "reverse; on the source upgrade the agent; on a source that was restored from a backup, once the "
        "cutover was taken back, move the agent's state directory away and enrol it: go2cloud-agent enroll "
        f"--replace {server.name}",
    )


async def release_lease(uow: UnitOfWork, server_id: str, instance: str) -> bool:
    """Let go of the lease, if this instance holds it: the agent stopped cleanly."""
    held = (ServerRow.id == server_id, ServerRow.instance == instance)
    return bool(await uow.changed(update(ServerRow).where(*held).values(instance="", lease_until=None)))


async def find_server(uow: UnitOfWork, server_id: str) -> ServerRow:
    """The row of a server as it is now. Raises ServerNotFound."""
    server = await uow.session.get(ServerRow, server_id, populate_existing=True)
    if server is None:
        raise ServerNotFound(f"there is no server {server_id}")
    return server


async def note_inventory(uow: UnitOfWork, server: ServerRow, inventory: Inventory) -> None:
    """Keep what the agent reports of its host now."""
    server.inventory = asdict(inventory)
    server.hostname = inventory.hostname[:MOST_NAME]
    server.machine_id = inventory.machine_id[:64]
    await register_disks(uow, server.id, inventory.disks)


async def register_disks(uow: UnitOfWork, server_id: str, disks: tuple[Disk, ...]) -> dict[str, DiskRow]:
    """Make or update the rows of the disks that the agent sees; the others are no longer present.

    Returns the rows by the disks' keys. A disk keeps its id and chunk size for good. Raises Invalid BAD_DISK.
    """
    for disk in disks:
        _require_plausible(disk)
    known = {row.disk_key: row for row in await disk_rows(uow, server_id)}
    for row in known.values():
        row.present = False
    for disk in disks:
        row = known.get(disk.key) or _new_disk(uow, server_id, disk)
        row.path, row.size, row.sector_size = disk.path, disk.size, disk.sector_size
        row.facts, row.present = asdict(disk), True
        known[disk.key] = row
    await uow.session.flush()
    return known


def _require_plausible(disk: Disk) -> None:
    if not 0 < len(disk.key) <= MOST_KEY or len(disk.path) > MOST_PATH or not 0 <= disk.size <= MOST_BYTES:
        raise Invalid(
            f"a disk with the key {disk.key[:MOST_KEY]!r} and {disk.size} bytes cannot be replicated",
            code="BAD_DISK",
            remedy=f"a key has 1 to {MOST_KEY} characters, a path {MOST_PATH}, a disk {MOST_BYTES} bytes",
        )


def _new_disk(uow: UnitOfWork, server_id: str, disk: Disk) -> DiskRow:
    row = DiskRow(
        id=new_id("dsk"), server_id=server_id, disk_key=disk.key, chunk_size=CHUNK_SIZE, created_at=uow.now
    )
    uow.session.add(row)
    return row


async def disk_rows(uow: UnitOfWork, server_id: str) -> list[DiskRow]:
    """All disks that a server ever reported, oldest first."""
    return list(
        await uow.session.scalars(select(DiskRow).where(DiskRow.server_id == server_id).order_by(DiskRow.id))
    )


async def take_command(uow: UnitOfWork, server_id: str) -> bool:
    """Whether a pass was asked for; it is said once."""
    taken = await uow.changed(
        update(ServerRow)
        .where(ServerRow.id == server_id, ServerRow.sync_requested.is_(True))
        .values(sync_requested=False)
    )
    return bool(taken)
