"""Requests that are sent again."""

from datetime import timedelta

import pytest

from app.kit.clock import ManualClock
from app.kit.database import Database, UnitOfWork
from app.kit.errors import Conflict, Invalid
from app.kit.secrets import digest
from app.migration.access.idempotency import KEPT_FOR, Claim, claim, settle

FIRST = Claim("usr-1", "POST /x", "key", digest("body"))


async def done(database: Database, wanted: Claim, resource: str) -> None:
    async with database.begin() as uow:
        assert await claim(uow, wanted) is None
        await settle(uow, wanted, resource)


async def test_a_repetition_finds_what_the_first_made(database: Database) -> None:
    await done(database, FIRST, "prj-1")
    async with database.begin() as uow:
        assert await claim(uow, FIRST) == "prj-1"


async def test_another_body_under_the_same_key_is_refused(database: Database) -> None:
    await done(database, FIRST, "prj-1")
    async with database.begin() as uow:
        with pytest.raises(Invalid) as refused:
            await claim(uow, Claim("usr-1", "POST /x", "key", digest("other")))
    assert refused.value.code == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize(
    "other",
    [
        Claim("usr-2", "POST /x", "key", digest("other")),
        Claim("usr-1", "POST /y", "key", digest("other")),
        Claim("usr-1", "POST /x", "KEY", digest("other")),
    ],
)
async def test_keys_of_others_and_of_other_routes_are_apart(database: Database, other: Claim) -> None:
    await done(database, FIRST, "prj-1")
    await done(database, other, "prj-2")


async def test_an_unfinished_first_request_is_named(database: Database) -> None:
    async with database.begin() as uow:
        await claim(uow, FIRST)
    async with database.begin() as uow:
        with pytest.raises(Conflict) as refused:
            await claim(uow, FIRST)
    assert refused.value.code == "IDEMPOTENCY_KEY_BUSY"


async def test_a_failed_first_request_leaves_the_key_free(database: Database) -> None:
    async def fail(uow: UnitOfWork) -> None:
        await claim(uow, FIRST)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.run(fail)
    await done(database, FIRST, "prj-1")


async def test_keys_are_forgotten_after_a_day(database: Database, clock: ManualClock) -> None:
    await done(database, FIRST, "prj-1")
    clock.advance(KEPT_FOR + timedelta(seconds=1))
    await done(database, FIRST, "prj-2")
