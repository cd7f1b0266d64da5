"""Install tokens: counted, expiring, revocable, and never two agents on one use."""

import asyncio
from datetime import timedelta

import pytest

from app.contract.paging import EVERYTHING, PageRequest, Scope
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.errors import Unauthenticated
from app.migration.access import install_tokens
from app.migration.access.errors import InstallTokenNotFound

HOUR = timedelta(hours=1)


async def make(database: Database, uses: int = 1, pin: str | None = None) -> install_tokens.InstallToken:
    async with database.begin() as uow:
        return await install_tokens.create_install_token(uow, "prj-a", "rack 1", uses, HOUR, pin)


async def redeem(database: Database, secret: str | None) -> install_tokens.InstallGrant:
    assert secret is not None
    return await database.run(lambda uow: install_tokens.redeem_install_token(uow, secret))


async def refusal(database: Database, secret: str | None) -> tuple[int, str]:
    with pytest.raises(Unauthenticated) as refused:
        await redeem(database, secret)
    return refused.value.status, refused.value.code


async def test_a_use_enrols_into_the_tokens_project(database: Database) -> None:
    token = await make(database)
    grant = await redeem(database, token.secret)
    assert grant == install_tokens.InstallGrant("prj-a", token.id, token.name)


async def test_the_last_use_is_the_last(database: Database) -> None:
    token = await make(database, uses=2)
    await redeem(database, token.secret)
    await redeem(database, token.secret)
    assert await refusal(database, token.secret) == (401, "INSTALL_TOKEN_USED_UP")


async def test_of_many_agents_at_once_only_as_many_enrol_as_there_are_uses(database: Database) -> None:
    token = await make(database, uses=3)
    results = await asyncio.gather(
        *(redeem(database, token.secret) for _ in range(10)), return_exceptions=True
    )
    assert sum(isinstance(result, install_tokens.InstallGrant) for result in results) == 3
    assert sum(isinstance(result, Unauthenticated) for result in results) == 7


async def test_an_expired_token_enrols_nobody(database: Database, clock: ManualClock) -> None:
    token = await make(database)
    clock.advance(HOUR)
    assert await refusal(database, token.secret) == (401, "INSTALL_TOKEN_EXPIRED")


async def test_a_revoked_token_enrols_nobody_and_stays_revoked(database: Database) -> None:
    token = await make(database)
    for _ in range(2):
        async with database.begin() as uow:
            revoked = await install_tokens.revoke_install_token(uow, EVERYTHING, token.id)
    assert revoked.revoked_at is not None
    assert await refusal(database, token.secret) == (401, "INSTALL_TOKEN_INVALID")


@pytest.mark.parametrize("text", ["", "g2i_wrong", ".", "g2i_wrong.abcdef", "ключ"])
async def test_an_unknown_token_enrols_nobody(database: Database, text: str) -> None:
    await make(database)
    assert await refusal(database, text) == (401, "INSTALL_TOKEN_INVALID")


async def test_the_fingerprint_travels_with_the_secret_and_is_no_part_of_it(database: Database) -> None:
    token = await make(database, uses=2, pin="ab" * 32)
    assert token.secret is not None
    secret, dot, pin = token.secret.partition(".")
    assert (dot, pin) == (".", "ab" * 32)
    await redeem(database, token.secret)
    await redeem(database, secret)


async def test_a_secret_is_shown_once(database: Database) -> None:
    token = await make(database)
    async with database.reading() as uow:
        again = await install_tokens.get_install_token(uow, EVERYTHING, token.id)
    assert again.secret is None
    assert again.uses_left == 1


async def test_tokens_of_other_projects_do_not_exist(database: Database) -> None:
    token = await make(database)
    elsewhere = Scope(frozenset({"prj-b"}))
    async with database.begin() as uow:
        page = await install_tokens.list_install_tokens(uow, elsewhere, None, PageRequest())
        assert page.items == ()
        with pytest.raises(InstallTokenNotFound):
            await install_tokens.revoke_install_token(uow, elsewhere, token.id)


async def test_pages_follow_each_other_without_gap_or_repetition(database: Database) -> None:
    made = [(await make(database)).id for _ in range(5)]
    seen: list[str] = []
    after: str | None = None
    async with database.reading() as uow:
        while True:
            page = await install_tokens.list_install_tokens(uow, EVERYTHING, "prj-a", PageRequest(2, after))
            seen += [token.id for token in page.items]
            if (after := page.next_after) is None:
                break
    assert seen == made
