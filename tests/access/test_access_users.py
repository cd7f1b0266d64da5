"""Users: the first administrator, one-time passwords, logins."""

from datetime import timedelta

import pytest

from app.kit.database import Database
from app.kit.errors import Invalid
from app.migration.access import sessions, users
from app.migration.access.errors import CredentialInvalid, LoginFailed, UserExists, UserNotFound
from app.migration.access.principals import authenticate


async def test_the_first_start_makes_an_administrator_and_the_next_none(database: Database) -> None:
    async with database.begin() as uow:
        first = await users.ensure_administrator(uow)
    async with database.begin() as uow:
        second = await users.ensure_administrator(uow)
    assert first is not None
    assert first.user == "admin"
    assert second is None


async def test_the_one_time_password_logs_in_and_is_in_no_repr(database: Database) -> None:
    async with database.begin() as uow:
        fresh = await users.create_administrator(uow, "Ada")
        account = await users.check_password(uow, "ADA", fresh.password)
    assert account.name == "ada"
    assert fresh.password not in repr(fresh)


@pytest.mark.parametrize(("name", "password"), [("admin", "wrong"), ("nobody", "wrong")])
async def test_a_wrong_name_and_a_wrong_password_look_the_same(
    database: Database, name: str, password: str
) -> None:
    async with database.begin() as uow:
        await users.ensure_administrator(uow)
        with pytest.raises(LoginFailed) as refused:
            await users.check_password(uow, name, password)
    assert refused.value.detail == "user or password is wrong"


async def test_a_taken_name_is_refused(database: Database) -> None:
    async with database.begin() as uow:
        await users.create_administrator(uow, "ada")
        with pytest.raises(UserExists):
            await users.create_administrator(uow, " ADA ")


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 101])
async def test_an_odd_name_is_refused(database: Database, name: str) -> None:
    async with database.begin() as uow:
        with pytest.raises(Invalid):
            await users.create_administrator(uow, name)


async def test_a_reset_password_closes_every_session(database: Database) -> None:
    async with database.begin() as uow:
        old = await users.create_administrator(uow, "ada")
        account = await users.check_password(uow, "ada", old.password)
        session = await sessions.open_session(uow, account, timedelta(hours=1))
    async with database.begin() as uow:
        new = await users.reset_password(uow, "ada")
    async with database.begin() as uow:
        with pytest.raises(CredentialInvalid):
            await authenticate(uow, session.token)
        with pytest.raises(LoginFailed):
            await users.check_password(uow, "ada", old.password)
        await users.check_password(uow, "ada", new.password)


async def test_resetting_an_unknown_user_names_it(database: Database) -> None:
    async with database.begin() as uow:
        with pytest.raises(UserNotFound, match="nobody"):
            await users.reset_password(uow, "nobody")


async def test_a_changed_password_keeps_this_session_and_closes_the_others(database: Database) -> None:
    async with database.begin() as uow:
        fresh = await users.create_administrator(uow, "ada")
        account = await users.check_password(uow, "ada", fresh.password)
        here = await sessions.open_session(uow, account, timedelta(hours=1))
        there = await sessions.open_session(uow, account, timedelta(hours=1))
        with pytest.raises(LoginFailed):
            await users.change_password(uow, account.id, here.id, "wrong", "correct horse battery")
        await users.change_password(uow, account.id, here.id, fresh.password, "correct horse battery")
    async with database.begin() as uow:
        assert not (await authenticate(uow, here.token)).password_must_change
        with pytest.raises(CredentialInvalid):
            await authenticate(uow, there.token)
