"""What a bearer secret amounts to."""

from datetime import timedelta

import pytest

from app.contract.paging import EVERYTHING, PageRequest, Scope
from app.contract.words import PrincipalKind, Role
from app.kit.clock import ManualClock
from app.kit.database import Database
from app.kit.errors import Invalid
from app.migration.access import sessions, tokens, users
from app.migration.access.errors import CredentialExpired, CredentialInvalid, TokenNotFound
from app.migration.access.principals import Principal, authenticate

HOUR = timedelta(hours=1)


async def token(database: Database, project: str | None, role: Role, life: timedelta | None) -> tokens.Token:
    async with database.begin() as uow:
        return await tokens.create_token(uow, "ci", project, role, life)


async def principal_of(database: Database, secret: str | None) -> Principal:
    assert secret is not None
    async with database.reading() as uow:
        return await authenticate(uow, secret)


async def test_a_tokens_project_is_all_that_it_sees(database: Database) -> None:
    made = await token(database, "prj-a", Role.OPERATOR, None)
    who = await principal_of(database, made.secret)
    assert (who.kind, who.role, who.scope) == (
        PrincipalKind.TOKEN,
        Role.OPERATOR,
        Scope(frozenset({"prj-a"})),
    )


async def test_an_administrators_session_sees_everything(database: Database) -> None:
    async with database.begin() as uow:
        fresh = await users.create_administrator(uow, "ada")
        account = await users.check_password(uow, "ada", fresh.password)
        session = await sessions.open_session(uow, account, HOUR)
    who = await principal_of(database, session.token)
    assert (who.name, who.role, who.scope) == ("ada", Role.ADMINISTRATOR, EVERYTHING)
    assert who.credential_id == session.id


async def test_a_session_ends(database: Database, clock: ManualClock) -> None:
    async with database.begin() as uow:
        fresh = await users.create_administrator(uow, "ada")
        account = await users.check_password(uow, "ada", fresh.password)
        session = await sessions.open_session(uow, account, HOUR)
    clock.advance(HOUR)
    with pytest.raises(CredentialExpired) as refused:
        await principal_of(database, session.token)
    assert refused.value.code == "SESSION_EXPIRED"


async def test_a_closed_session_is_worthless(database: Database) -> None:
    async with database.begin() as uow:
        fresh = await users.create_administrator(uow, "ada")
        account = await users.check_password(uow, "ada", fresh.password)
        session = await sessions.open_session(uow, account, HOUR)
        await sessions.close_session(uow, session.id)
        await sessions.close_session(uow, session.id)
    with pytest.raises(CredentialInvalid):
        await principal_of(database, session.token)


async def test_a_token_expires(database: Database, clock: ManualClock) -> None:
    made = await token(database, None, Role.VIEWER, HOUR)
    await principal_of(database, made.secret)
    clock.advance(HOUR)
    with pytest.raises(CredentialExpired):
        await principal_of(database, made.secret)


async def test_a_revoked_token_is_worthless(database: Database) -> None:
    made = await token(database, None, Role.VIEWER, None)
    for _ in range(2):
        async with database.begin() as uow:
            await tokens.revoke_token(uow, made.id)
    with pytest.raises(CredentialInvalid):
        await principal_of(database, made.secret)


@pytest.mark.parametrize("secret", ["", "x", "g2t_", "g2s_", "g2a_something", "g2t_é"])
async def test_any_other_text_is_no_credential(database: Database, secret: str) -> None:
    with pytest.raises(CredentialInvalid):
        await principal_of(database, secret)


async def test_an_administrators_token_is_never_bound_to_a_project(database: Database) -> None:
    with pytest.raises(Invalid) as refused:
        await token(database, "prj-a", Role.ADMINISTRATOR, None)
    assert refused.value.code == "TOKEN_ROLE_TOO_WIDE"


@pytest.mark.parametrize("role", list(Role))
def test_a_role_may_what_those_below_it_may(role: Role) -> None:
    order = [Role.VIEWER, Role.OPERATOR, Role.ADMINISTRATOR]
    who = Principal("tok-1", PrincipalKind.TOKEN, "ci", role, EVERYTHING, "tok-1")
    assert [each for each in order if who.may(each)] == order[: order.index(role) + 1]


async def test_use_is_noted_once_a_minute(database: Database, clock: ManualClock) -> None:
    made = await token(database, None, Role.VIEWER, None)
    async with database.begin() as uow:
        assert await tokens.is_touch_due(uow, made.id)
        await tokens.touch_token(uow, made.id)
        assert not await tokens.is_touch_due(uow, made.id)
    clock.advance(timedelta(minutes=2))
    async with database.reading() as uow:
        assert await tokens.is_touch_due(uow, made.id)


async def test_listing_shows_revoked_tokens_and_no_secret(database: Database) -> None:
    made = [await token(database, None, Role.VIEWER, None) for _ in range(3)]
    async with database.begin() as uow:
        await tokens.revoke_token(uow, made[1].id)
    async with database.reading() as uow:
        first = await tokens.list_tokens(uow, PageRequest(2))
        rest = await tokens.list_tokens(uow, PageRequest(2, first.next_after))
    every = first.items + rest.items
    assert [each.id for each in every] == [each.id for each in made]
    assert [each.revoked_at is not None for each in every] == [False, True, False]
    assert all(each.secret is None for each in every)


async def test_an_unknown_token_is_not_found(database: Database) -> None:
    async with database.begin() as uow:
        with pytest.raises(TokenNotFound):
            await tokens.revoke_token(uow, "tok-unknown")
