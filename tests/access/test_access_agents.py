"""Agent credentials: bound to one server, replaced by the next enrolment."""

import pytest

from app.kit.database import Database
from app.migration.access.agents import agent_of, issue_agent_credential, revoke_agent_credentials
from app.migration.access.errors import CredentialInvalid


async def test_a_credential_speaks_for_its_server_only(database: Database) -> None:
    async with database.begin() as uow:
        one = await issue_agent_credential(uow, "srv-1")
        two = await issue_agent_credential(uow, "srv-2")
    async with database.reading() as uow:
        assert await agent_of(uow, one) == "srv-1"
        assert await agent_of(uow, two) == "srv-2"


async def test_a_new_enrolment_shuts_the_old_agent_out(database: Database) -> None:
    async with database.begin() as uow:
        old = await issue_agent_credential(uow, "srv-1")
    async with database.begin() as uow:
        new = await issue_agent_credential(uow, "srv-1")
    async with database.reading() as uow:
        assert await agent_of(uow, new) == "srv-1"
        with pytest.raises(CredentialInvalid) as refused:
            await agent_of(uow, old)
    assert (refused.value.status, refused.value.code) == (401, "AGENT_CREDENTIAL_INVALID")


async def test_revoking_twice_is_revoking_once(database: Database) -> None:
    async with database.begin() as uow:
        secret = await issue_agent_credential(uow, "srv-1")
    for _ in range(2):
        async with database.begin() as uow:
            await revoke_agent_credentials(uow, "srv-1")
    async with database.reading() as uow:
        with pytest.raises(CredentialInvalid):
            await agent_of(uow, secret)
