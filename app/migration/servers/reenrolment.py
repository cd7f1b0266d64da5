"""How a host that was enrolled before takes up its server again: its agent was reinstalled, its state lost.

The server keeps its id, name, settings, disks and checkpoints. It gets a new credential, the old one is
worthless, and its generation is raised: an older agent that comes back is denied, and a session that it still
has open can commit nothing. An agent that may be alive is never shut out unless that was said by name.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import select, update

from app.contract.paging import Scope
from app.contract.words import LifecycleState
from app.kit.database import UnitOfWork
from app.kit.errors import BadRequest, Json
from app.migration.access import audit
from app.migration.access.install_tokens import InstallGrant
from app.migration.servers.errors import ReenrolmentRefused, ServerDisconnected
from app.migration.servers.lifecycle import require_source
from app.migration.servers.recognition import Known, is_same_host, known_again, may_be_same_host
from app.migration.servers.service import find_in_scope
from app.migration.servers.tables import DiskRow, ServerRow
from app.wire import jsonform
from app.wire.messages import Disk, Enroll

MOST_SHOWN: Final = 5
"""Names of servers in one refusal."""

_OVER: Final = frozenset((LifecycleState.CUTTING_OVER, LifecycleState.CUTOVER, LifecycleState.DISCONNECTED))


class Claim(StrEnum):
    """Which server an enrolling host wants to be; see the message Enroll."""

    KNOWN = "known"
    NEW = "new"
    SERVER = "server"
    REPLACE = "replace"


async def claimed_server(
    uow: UnitOfWork, grant: InstallGrant, message: Enroll, lease: timedelta
) -> ServerRow | None:
    """The server, locked, that the host takes up again; None where it becomes a new one.

    An agent that enrolled and was not heard since counts as alive for a `lease`.

    Raises BadRequest UNKNOWN_CLAIM, ServerNotFound, ServerDisconnected, ServerIsReverse, ReenrolmentRefused.
    """
    claim = _claim_of(message)
    if claim is Claim.NEW or grant.reverse_of is not None:
        return None
    if claim is Claim.KNOWN:
        return await _known_server(uow, grant.project_id, message, lease)
    return await _named_server(uow, grant.project_id, message, claim, lease)


def _claim_of(message: Enroll) -> Claim:
    try:
        claim = Claim(message.claim)
    except ValueError as error:
        raise BadRequest(
            f"{message.claim!r} is no claim that this service knows",
            code="UNKNOWN_CLAIM",
            remedy="upgrade the older of agent and service",
            allowed=[each.value for each in Claim],
        ) from error
    if bool(message.server) is not (claim in (Claim.SERVER, Claim.REPLACE)):
        raise BadRequest(
            f"the claim {claim} {'names a' if message.server else 'lacks the'} server",
            code="UNKNOWN_CLAIM",
            remedy="name a server with the claims server and replace, and only with these",
        )
    return claim


async def _known_server(
    uow: UnitOfWork, project_id: str, message: Enroll, lease: timedelta
) -> ServerRow | None:
    if not message.inventory.machine_id:
        return None
    query = (
        select(ServerRow)
        .where(ServerRow.project_id == project_id, ServerRow.machine_id == message.inventory.machine_id)
        .where(ServerRow.reverse_of.is_(None), ServerRow.archived.is_(False))
        .where(ServerRow.lifecycle_state.not_in(_OVER))
        .order_by(ServerRow.id)
    )
    rows = (await uow.session.scalars(query)).all()
    found = [row for row in rows if is_same_host(await known_of(uow, row), message.inventory)]
    if len(found) > 1:
        raise _ambiguous(found)
    if not found:
        return None
    server = await _locked(uow, found[0].id)
    _require_replicated(server)
    _require_silent(uow, server, message.instance, lease)
    return server


async def _named_server(
    uow: UnitOfWork, project_id: str, message: Enroll, claim: Claim, lease: timedelta
) -> ServerRow:
    named = await find_in_scope(uow, Scope(frozenset((project_id,))), message.server)
    server = await _locked(uow, named.id)
    require_source(server, "to enrol as it")
    _require_replicated(server)
    if claim is Claim.SERVER:
        if not may_be_same_host(await known_of(uow, server), message.inventory):
            raise _another_host(server)
        _require_silent(uow, server, message.instance, lease)
    return server


async def _locked(uow: UnitOfWork, server_id: str) -> ServerRow:
    """The row, which neither its agent nor another enrolment changes until the unit ends."""
    query = select(ServerRow).where(ServerRow.id == server_id).with_for_update()
    return (await uow.session.scalars(query.execution_options(populate_existing=True))).one()


async def known_of(uow: UnitOfWork, server: ServerRow) -> Known:
    """What is known of a server's host, as its agent last reported it."""
    present = (DiskRow.server_id == server.id, DiskRow.present.is_(True))
    rows = await uow.session.scalars(select(DiskRow).where(*present).order_by(DiskRow.id))
    disks = tuple(jsonform.build(Disk, row.facts) for row in rows)
    return Known(server.machine_id, str(server.inventory.get("system_uuid", "")), disks)


def _require_replicated(server: ServerRow) -> None:
    if server.lifecycle_state == LifecycleState.DISCONNECTED:
        raise ServerDisconnected(
            f"server {server.name!r} was disconnected", remedy="enrol the host as a new one: --new"
        )
    if server.lifecycle_state in _OVER:
        raise ReenrolmentRefused(
            f"server {server.name!r} is {server.lifecycle_state}: its source is held",
            code="SERVER_CUT_OVER",
            remedy="revert the cutover first; or enrol the host as a new server: --new",
        )


def _require_silent(uow: UnitOfWork, server: ServerRow, instance: str, lease: timedelta) -> None:
    """Raise ReenrolmentRefused while the server's agent holds its lease, or has only just enrolled."""
    until = _alive_until(server, instance, lease)
    if until is None or until < uow.now:
        return
    raise ReenrolmentRefused(
        f"server {server.name!r} ({server.id}), which this host seems to be, has an agent that is alive",
        code="SERVER_IN_USE",
        remedy=f"was the agent reinstalled: stop the old one, or enrol again after "
        f"{until:%H:%M:%S} UTC, or shut it out with --replace {server.name}; "
        "is this host a clone: enrol it as a new server with --new",
        server=server.id,
        leaseUntil=until.isoformat(),
    )


def _alive_until(server: ServerRow, instance: str, lease: timedelta) -> datetime | None:
    """When the lease of the server's agent ends; None where it left, or where this one is it.

    One that enrolled and has not polled yet is an instance without a lease. It may enrol once more, as the
    answer may have been lost.
    """
    if server.lease_until is not None:
        return server.lease_until
    if server.instance in ("", instance) or server.last_seen_at is None:
        return None
    return server.last_seen_at + lease


def _another_host(server: ServerRow) -> ReenrolmentRefused:
    return ReenrolmentRefused(
        f"neither machine id nor disks of this host are those of server {server.name!r} ({server.id})",
        code="ANOTHER_HOST",
        remedy=f"name another server; or, if it shall take its place all the same: --replace {server.name}",
        server=server.id,
    )


def _ambiguous(found: Sequence[ServerRow]) -> ReenrolmentRefused:
    shown = ", ".join(f"{row.name!r} ({row.id})" for row in found[:MOST_SHOWN])
    return ReenrolmentRefused(
        f"this host may be several servers: {shown}",
        code="SERVER_AMBIGUOUS",
        remedy="say which with --server, or enrol it as a new one with --new",
        servers=[row.id for row in found],
    )


async def fence_older_agent(uow: UnitOfWork, server: ServerRow, instance: str) -> None:
    """Take lease and generation from the server's agent for the `instance` that enrols, and forget what it
    said of itself."""
    values = {
        "generation": ServerRow.generation + 1,
        "instance": instance,
        "lease_until": None,
        "last_seen_at": uow.now,
        "status": None,
        "status_at": None,
        "moved_at": None,
        "diverging_since": None,
    }
    await uow.session.execute(update(ServerRow).where(ServerRow.id == server.id).values(**values))
    await uow.session.refresh(server)


async def note_taken_up(
    uow: UnitOfWork,
    server: ServerRow,
    grant: InstallGrant,
    message: Enroll,
    request_id: str | None,
    stopped_for: str | None,
) -> None:
    """Write down who took the server up, and by which evidence; before its inventory is replaced.

    `stopped_for` is the cutover for which the older agent stopped services that it never started again.
    """
    known = await known_of(uow, server)
    details: dict[str, Json] = {
        "claim": message.claim,
        "hostname": message.inventory.hostname,
        "sameMachineId": bool(known.machine_id) and known.machine_id == message.inventory.machine_id,
        "disksKnownAgain": list(known_again(known.disks, message.inventory.disks)),
        "lastSeenAt": server.last_seen_at.isoformat() if server.last_seen_at else None,
        "generation": server.generation,
        "servicesStoppedFor": stopped_for,
    }
    change = audit.Change("server.reenroll", server.id, server.project_id, details)
    await audit.record(uow, audit.Actor(grant.token_id, grant.token_name), change, request_id)
