"""A host whose agent was reinstalled is its server again; a clone never is while the original lives."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from app.contract.paging import EVERYTHING, PageRequest
from app.contract.words import LifecycleState
from app.kit.clock import ManualClock
from app.kit.database import Database, UnitOfWork
from app.kit.errors import BadRequest
from app.migration.access.agents import agent_of
from app.migration.access.audit import list_audit
from app.migration.access.errors import CredentialInvalid
from app.migration.access.install_tokens import create_install_token, list_install_tokens
from app.migration.projects.service import ensure_default_project
from app.migration.replication.errors import Fenced
from app.migration.servers.enrolment import (
    disk_rows,
    enroll,
    find_server,
    hold_lease,
    note_inventory,
    release_lease,
)
from app.migration.servers.errors import (
    ReenrolmentRefused,
    ServerDisconnected,
    ServerIsReverse,
    ServerNotFound,
)
from app.migration.services import Services
from app.wire.chunks import CHUNK_SIZE
from app.wire.messages import Disk, Enroll, Enrolled, Filesystem, Inventory
from tests.replication.agent_double import DISK, LEASE, AgentDouble

DATA = random.Random(5).randbytes(2 * CHUNK_SIZE)
ROOT = replace(DISK, size=len(DATA), filesystem=Filesystem("ext4", "root-uuid"))
HOST = Inventory("web", machine_id="m1", system_uuid="u1", disks=(ROOT,))
CLONE = replace(HOST, system_uuid="u2")


@pytest.fixture
async def token(database: Database) -> str:
    """An install token for many hosts."""
    async with database.begin() as uow:
        project = await ensure_default_project(uow)
        made = await create_install_token(uow, project.id, "hosts", 20, timedelta(hours=9), None)
    assert made.secret is not None
    return made.secret


async def enrolled(
    database: Database,
    token: str,
    inventory: Inventory = HOST,
    claim: str = "known",
    server: str = "",
    instance: str = "instance-1",
) -> Enrolled:
    """Enrol a host."""
    message = Enroll(token, instance, "1.0", inventory, claim, server)
    return await database.run(lambda uow: enroll(uow, message, LEASE, "req-1"))


async def refusal(
    database: Database,
    token: str,
    inventory: Inventory = HOST,
    claim: str = "known",
    server: str = "",
    instance: str = "instance-1",
) -> str:
    """The code with which an enrolment is refused; it took no use of the token."""
    before = await uses_left(database)
    with pytest.raises(ReenrolmentRefused) as refused:
        await enrolled(database, token, inventory, claim, server, instance)
    assert await uses_left(database) == before
    return refused.value.code


async def uses_left(database: Database) -> int:
    """Of the one token."""
    async with database.reading() as uow:
        page = await list_install_tokens(uow, EVERYTHING, None, PageRequest(10, None))
    return page.items[0].uses_left


async def alive(database: Database, server: str) -> None:
    """The server's agent holds its lease."""
    await database.run(lambda uow: hold_lease(uow, server, "instance-1", LEASE))


async def released(database: Database, server: str) -> None:
    """The server's agent says good-bye."""
    await database.run(lambda uow: release_lease(uow, server, "instance-1"))


async def test_a_reinstalled_agent_goes_on_with_its_server(services: Services, token: str) -> None:
    database = services.database
    first = await enrolled(database, token)
    old = AgentDouble(services, first.server_id)
    committed = await old.replicate({ROOT.key: DATA})
    async with database.begin() as uow:
        server = await find_server(uow, first.server_id)
        server.description, server.checkpoint_interval_seconds = "kept", 77
        server.lease_until = None
        await note_inventory(uow, server, HOST)
    again = await enrolled(database, token)
    assert (again.server_id, again.name, again.is_taken_up) == (first.server_id, "web", True)
    async with database.reading() as uow:
        assert await agent_of(uow, again.credential) == first.server_id
        with pytest.raises(CredentialInvalid):
            await agent_of(uow, first.credential)
        server = await find_server(uow, first.server_id)
        assert (server.description, server.checkpoint_interval_seconds) == ("kept", 77)
        assert [row.disk_key for row in await disk_rows(uow, first.server_id)] == [ROOT.key]
    new = AgentDouble(services, first.server_id, "instance-2")
    opened = await new.open({ROOT.key: len(DATA)})
    assert opened.head == committed.checkpoint_id
    assert opened.disks[0].root == committed.disks[0].root


async def test_what_an_older_agent_still_sends_can_commit_nothing(services: Services, token: str) -> None:
    first = await enrolled(services.database, token)
    old = AgentDouble(services, first.server_id)
    await old.open({ROOT.key: len(DATA)})
    await old.put_disk(DATA)
    await enrolled(services.database, token, HOST, "replace", first.server_id)
    with pytest.raises(Fenced):
        await old.commit({ROOT.key: DATA})
    with pytest.raises(Fenced):
        await old.put_disk(DATA)


async def test_a_host_whose_agent_is_alive_is_not_taken_over(
    database: Database, token: str, clock: ManualClock
) -> None:
    first = await enrolled(database, token)
    await alive(database, first.server_id)
    assert await refusal(database, token) == "SERVER_IN_USE"
    assert await refusal(database, token, HOST, "server", "web") == "SERVER_IN_USE"
    async with database.reading() as uow:
        assert await agent_of(uow, first.credential) == first.server_id, "the refusals changed nothing"
    clock.advance(LEASE + timedelta(seconds=1))
    assert (await enrolled(database, token)).server_id == first.server_id


async def test_a_host_that_has_only_just_enrolled_is_not_taken_over(
    database: Database, token: str, clock: ManualClock
) -> None:
    """It has not polled yet. A clone on a machine without a firmware UUID seems to be it."""
    for claim in ("new", "replace"):
        first = await enrolled(database, token, HOST, claim, "" if claim == "new" else "web")
        for named in (("known", ""), ("server", "web")):
            assert await refusal(database, token, HOST, *named, "instance-2") == "SERVER_IN_USE"
        assert (await enrolled(database, token)).is_taken_up, "the answer may have been lost"
        await alive(database, first.server_id)
        await released(database, first.server_id)
    taken = await enrolled(database, token, instance="instance-2")
    assert taken.server_id == first.server_id, "its agent said good-bye"
    clock.advance(LEASE + timedelta(seconds=1))
    again = await enrolled(database, token, instance="instance-3")
    assert again.server_id == first.server_id, "it was not heard for a lease"


async def test_a_clone_becomes_a_server_of_its_own(database: Database, token: str) -> None:
    first = await enrolled(database, token)
    clone = await enrolled(database, token, CLONE)
    assert (clone.server_id != first.server_id, clone.is_taken_up, clone.name) == (True, False, "web-2")
    await alive(database, first.server_id)
    nameless = replace(HOST, system_uuid="")
    assert await refusal(database, token, nameless) == "SERVER_AMBIGUOUS"
    assert not (await enrolled(database, token, nameless, "new")).is_taken_up
    async with database.reading() as uow:
        assert await agent_of(uow, first.credential) == first.server_id


async def test_two_that_may_be_the_host_are_not_guessed_between(database: Database, token: str) -> None:
    first = await enrolled(database, token)
    second = await enrolled(database, token, HOST, "new")
    with pytest.raises(ReenrolmentRefused) as refused:
        await enrolled(database, token)
    assert refused.value.code == "SERVER_AMBIGUOUS"
    assert refused.value.extra["servers"] == [first.server_id, second.server_id]
    assert (await enrolled(database, token, HOST, "server", "web-2")).server_id == second.server_id


async def test_an_enrolment_whose_answer_was_lost_makes_no_second_server(
    database: Database, token: str
) -> None:
    made = await asyncio.gather(*(enrolled(database, token) for _ in range(3)))
    assert len({each.server_id for each in made}) == 1
    assert sorted(each.is_taken_up for each in made) == [False, True, True]


async def test_another_host_takes_a_place_only_by_name_and_insistence(database: Database, token: str) -> None:
    first = await enrolled(database, token)
    stranger = Inventory("db", machine_id="m9", disks=(Disk("wwn-9", "/dev/sda", 1 << 30, 512),))
    assert await refusal(database, token, stranger, "server", "web") == "ANOTHER_HOST"
    moved = replace(CLONE, disks=())
    assert (await enrolled(database, token, moved, "server", "web")).server_id == first.server_id
    await alive(database, first.server_id)
    taken = await enrolled(database, token, stranger, "replace", "web")
    assert (taken.server_id, taken.name) == (first.server_id, "web")


async def test_a_server_of_another_project_does_not_exist(database: Database, token: str) -> None:
    with pytest.raises(ServerNotFound):
        await enrolled(database, token, HOST, "server", "srv-elsewhere")


async def set_up(database: Database, server: str, **values: object) -> None:
    """Set columns of a server."""

    async def work(uow: UnitOfWork) -> None:
        row = await find_server(uow, server)
        for name, value in values.items():
            setattr(row, name, value)

    await database.run(work)


@pytest.mark.parametrize("state", [LifecycleState.CUTTING_OVER, LifecycleState.CUTOVER])
async def test_a_source_that_is_held_is_not_taken_up(
    database: Database, token: str, state: LifecycleState
) -> None:
    first = await enrolled(database, token)
    await set_up(database, first.server_id, lifecycle_state=state)
    for claim in ("server", "replace"):
        assert await refusal(database, token, HOST, claim, "web") == "SERVER_CUT_OVER"
    assert (await enrolled(database, token)).server_id != first.server_id


async def test_a_disconnected_server_and_a_way_back_are_not_taken_up(database: Database, token: str) -> None:
    first = await enrolled(database, token)
    await set_up(database, first.server_id, lifecycle_state=LifecycleState.DISCONNECTED)
    with pytest.raises(ServerDisconnected):
        await enrolled(database, token, HOST, "replace", "web")
    second = await enrolled(database, token)
    assert second.server_id != first.server_id
    await set_up(database, second.server_id, reverse_of=first.server_id)
    with pytest.raises(ServerIsReverse):
        await enrolled(database, token, HOST, "server", second.server_id)
    assert (await enrolled(database, token)).server_id != second.server_id


@pytest.mark.parametrize(
    ("claim", "server"), [("mine", ""), ("server", ""), ("known", "web"), ("new", "web")]
)
async def test_a_claim_that_is_none_is_refused(
    database: Database, token: str, claim: str, server: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        await enrolled(database, token, HOST, claim, server)
    assert refused.value.code == "UNKNOWN_CLAIM"


async def test_the_audit_trail_says_who_took_a_server_up(database: Database, token: str) -> None:
    first = await enrolled(database, token)
    await enrolled(database, token)
    async with database.reading() as uow:
        (entry,) = (await list_audit(uow, first.server_id, PageRequest(10, None))).items
    assert (entry.action, entry.principal_name, entry.request_id) == ("server.reenroll", "hosts", "req-1")
    assert entry.details["sameMachineId"] is True
    assert entry.details["disksKnownAgain"] == [ROOT.key]
    assert token not in str(entry)
