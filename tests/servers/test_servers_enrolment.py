"""One credential, one live agent; a name for every host; a disk keeps its identity."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.errors import Invalid
from app.migration.access.agents import agent_of
from app.migration.access.errors import CredentialExpired, CredentialInvalid
from app.migration.access.install_tokens import create_install_token
from app.migration.projects.service import ensure_default_project
from app.migration.servers.enrolment import (
    MOST_KEY,
    disk_rows,
    enroll,
    hold_lease,
    register_disks,
    release_lease,
)
from app.migration.servers.errors import DuplicateAgent
from app.wire.messages import Disk, Enroll, Enrolled, Inventory

LEASE = timedelta(seconds=30)
DISK = Disk(key="wwn-1", path="/dev/sda", size=1 << 30, sector_size=512)


@pytest.fixture
async def token(database: Database) -> str:
    """An install token for three hosts."""
    async with database.begin() as uow:
        project = await ensure_default_project(uow)
        made = await create_install_token(uow, project.id, "hosts", 3, timedelta(hours=1), "ab" * 32)
    assert made.secret is not None
    return made.secret


async def enrolled(database: Database, token: str, hostname: str = "web") -> Enrolled:
    """Enrol one host with one disk."""
    message = Enroll(token, "instance-1", "1.0", Inventory(hostname, disks=(DISK,)))
    return await database.run(lambda uow: enroll(uow, message, LEASE))


async def test_the_credential_speaks_for_exactly_this_server(database: Database, token: str) -> None:
    one, two = await enrolled(database, token), await enrolled(database, token)
    async with database.reading() as uow:
        assert await agent_of(uow, one.credential) == one.server_id
        assert await agent_of(uow, two.credential) == two.server_id
        with pytest.raises(CredentialInvalid):
            await agent_of(uow, one.credential + "x")


async def test_hosts_of_one_name_get_names_of_their_own(database: Database, token: str) -> None:
    names = [(await enrolled(database, token)).name for _ in range(3)]
    assert names == ["web", "web-2", "web-3"]


async def test_hosts_of_one_name_that_enrol_at_once_get_names_of_their_own(database: Database) -> None:
    async def alone() -> Enrolled:
        async with database.begin() as uow:
            project = await ensure_default_project(uow)
            made = await create_install_token(uow, project.id, "one", 1, timedelta(hours=1), None)
        assert made.secret is not None
        return await enrolled(database, made.secret)

    names = [(await alone()).name]
    names += [done.name for done in await asyncio.gather(*(alone() for _ in range(4)))]
    assert sorted(names) == ["web", "web-2", "web-3", "web-4", "web-5"]


async def test_a_used_up_token_enrols_nobody(database: Database, token: str) -> None:
    for _ in range(3):
        await enrolled(database, token)
    with pytest.raises(CredentialExpired) as refusal:
        await enrolled(database, token)
    assert refusal.value.code == "INSTALL_TOKEN_USED_UP"


async def test_a_second_live_instance_is_refused_until_the_lease_ends(
    database: Database, token: str, clock: ManualClock
) -> None:
    server = (await enrolled(database, token)).server_id
    await database.run(lambda uow: hold_lease(uow, server, "first", LEASE))
    with pytest.raises(DuplicateAgent):
        await database.run(lambda uow: hold_lease(uow, server, "second", LEASE))
    clock.advance(LEASE + timedelta(seconds=1))
    await database.run(lambda uow: hold_lease(uow, server, "second", LEASE))
    with pytest.raises(DuplicateAgent):
        await database.run(lambda uow: hold_lease(uow, server, "first", LEASE))


async def test_a_clean_stop_lets_another_instance_in_at_once(database: Database, token: str) -> None:
    server = (await enrolled(database, token)).server_id
    await database.run(lambda uow: hold_lease(uow, server, "first", LEASE))
    await database.run(lambda uow: release_lease(uow, server, "second"))
    with pytest.raises(DuplicateAgent):
        await database.run(lambda uow: hold_lease(uow, server, "second", LEASE))
    await database.run(lambda uow: release_lease(uow, server, "first"))
    await database.run(lambda uow: hold_lease(uow, server, "second", LEASE))


async def test_a_disk_keeps_its_id_when_its_path_and_size_change(database: Database, token: str) -> None:
    server = (await enrolled(database, token)).server_id
    renamed = replace(DISK, path="/dev/sdb", size=2 << 30)
    async with database.begin() as uow:
        (before,) = await disk_rows(uow, server)
        first = before.id
        rows = await register_disks(uow, server, (renamed, replace(DISK, key="wwn-2")))
    assert rows["wwn-1"].id == first
    assert (rows["wwn-1"].path, rows["wwn-1"].size) == ("/dev/sdb", 2 << 30)
    assert rows["wwn-2"].id != first


async def test_a_disk_with_an_impossible_key_is_refused_by_name(database: Database, token: str) -> None:
    server = (await enrolled(database, token)).server_id
    for key in ("", "k" * (MOST_KEY + 1)):
        async with database.begin() as uow:
            with pytest.raises(Invalid) as refusal:
                await register_disks(uow, server, (replace(DISK, key=key),))
        assert refusal.value.code == "BAD_DISK"
