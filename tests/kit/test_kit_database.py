"""Units of work on both engines, their repetition, and the columns."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError

from app.kit import retry
from app.kit.clock import ManualClock, SystemClock
from app.kit.database import Database, NestedUnit, UnitOfWork
from app.kit.ids import new_id
from app.kit.settings import DatabaseSettings, Engine
from tests.kit.bank import Account, Row, balance, deposit, opened


@pytest.fixture
async def bank(database_settings: DatabaseSettings, clock: ManualClock) -> AsyncIterator[Database]:
    """The accounts, on each engine."""
    database = await opened(database_settings, clock)
    yield database
    await database.close()


async def test_a_unit_commits_when_it_ends_well(bank: Database) -> None:
    async with bank.begin() as unit:
        await deposit(unit, "a")
    assert await balance(bank, "a") == 1


async def test_a_unit_that_raises_leaves_nothing(bank: Database) -> None:
    async def deposit_and_fail() -> None:
        async with bank.begin() as unit:
            await deposit(unit, "a")
            raise KeyError

    with pytest.raises(KeyError):
        await deposit_and_fail()
    assert await balance(bank, "a") == 0


async def test_what_is_to_be_told_is_told_after_the_commit_and_only_then(bank: Database) -> None:
    told: list[int] = []

    async def tell() -> None:
        async with bank.reading() as unit:
            told.append(await unit.session.scalar(select(Account.balance).where(Account.name == "a")) or 0)

    async with bank.begin() as unit:
        unit.afterwards.append(tell)
        await unit.changed(update(Account).where(Account.name == "a").values(balance=7))
        assert told == []
    assert told == [7]

    async def fail(unit: UnitOfWork) -> None:
        unit.afterwards.append(tell)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await bank.run(fail)
    assert told == [7]


async def test_a_unit_that_is_cancelled_leaves_nothing_and_frees_its_turn(bank: Database) -> None:
    inside = asyncio.Event()

    async def linger() -> None:
        async with bank.begin() as unit:
            await deposit(unit, "a")
            inside.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(linger())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(5), bank.begin() as unit:
        await deposit(unit, "b")
    assert (await balance(bank, "a"), await balance(bank, "b")) == (0, 1)


async def test_units_that_are_given_up_at_any_moment_keep_nobody_from_writing(bank: Database) -> None:
    """A statement ends in its own time: what it locked is free once its connection is closed."""
    chance = random.Random(3)

    async def deposit_and_count(unit: UnitOfWork) -> None:
        await deposit(unit, "a")
        await unit.session.execute(text("SELECT COUNT(*) FROM kit_account"))

    async def give_up() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.01)):
                await bank.run(deposit_and_count)

    async def look_away() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.uniform(0, 0.004)):
                await balance(bank, "a")

    async with asyncio.timeout(60):
        for _ in range(150):
            kept = bank.run(lambda unit: deposit(unit, "b"))
            await asyncio.gather(kept, *(give_up() for _ in range(3)), *(look_away() for _ in range(3)))
    assert await balance(bank, "b") == 150


async def test_a_reading_unit_cannot_write(bank: Database) -> None:
    with pytest.raises(DBAPIError, match=r"(?i)read.?only"):
        async with bank.reading() as unit:
            await deposit(unit, "a")
    async with bank.begin() as unit:
        await deposit(unit, "a")
    assert await balance(bank, "a") == 1


async def test_the_time_of_a_unit_stands_still(bank: Database, clock: ManualClock) -> None:
    async with bank.begin() as unit:
        before = unit.now
        clock.advance(timedelta(seconds=5))
        assert unit.now == before


async def test_readers_do_not_wait_for_a_writer(bank: Database) -> None:
    async with bank.begin() as unit:
        await deposit(unit, "a")
        async with asyncio.timeout(5):
            assert await balance(bank, "a") == 0


async def test_many_writers_at_once_lose_no_update(bank: Database) -> None:
    async def read_then_write(unit: UnitOfWork) -> None:
        account = await unit.session.get_one(Account, "a", with_for_update=True)
        await asyncio.sleep(0)
        account.balance += 1

    await asyncio.gather(*(bank.run(read_then_write) for _ in range(40)))
    assert await balance(bank, "a") == 40


async def test_units_in_opposite_order_both_succeed(bank: Database) -> None:
    """A deadlock on MariaDB, whose victim is done again; SQLite's writers take turns."""
    attempts = 0
    both = asyncio.Barrier(2)

    async def move(unit: UnitOfWork, first: str, second: str, meet: bool) -> None:
        nonlocal attempts
        attempts += 1
        await deposit(unit, first)
        if meet and attempts <= 2:
            await both.wait()
        await deposit(unit, second)

    meet = bank.dialect == "mysql"
    await asyncio.gather(
        bank.run(lambda unit: move(unit, "a", "b", meet)), bank.run(lambda unit: move(unit, "b", "a", meet))
    )
    assert attempts == (3 if meet else 2)
    assert (await balance(bank, "a"), await balance(bank, "b")) == (2, 2)


async def test_a_unit_that_cannot_succeed_is_given_up(bank: Database) -> None:
    attempts = 0

    async def busy(_unit: UnitOfWork) -> None:
        nonlocal attempts
        attempts += 1
        raise OperationalError("UPDATE", {}, sqlite3.OperationalError("database is locked"))

    with pytest.raises(OperationalError):
        await bank.run(busy)
    assert attempts == retry.ATTEMPTS


async def test_a_broken_rule_is_not_repeated(bank: Database) -> None:
    attempts = 0

    async def insert_again(unit: UnitOfWork) -> None:
        nonlocal attempts
        attempts += 1
        unit.session.add(Account(name="a", balance=0))

    with pytest.raises(IntegrityError):
        await bank.run(insert_again)
    assert attempts == 1


async def test_an_error_does_not_show_what_was_to_be_written(bank: Database) -> None:
    """It comes into logs, and what was to be written may be a secret."""
    with pytest.raises(DBAPIError) as raised:
        async with bank.begin() as unit:
            await unit.session.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "g2w_hush"})
    assert "nowhere" in str(raised.value)
    assert "g2w_hush" not in str(raised.value)


async def test_values_come_back_as_they_went(bank: Database) -> None:
    at = datetime(2026, 7, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    name, value = new_id("srv"), {"b": [1, None, "ü🚚"], "a": {"x": True}}
    async with bank.begin() as unit:
        unit.session.add(Row(id=name, at=at, hash=bytes(range(32)), data=value))
    async with bank.reading() as unit:
        row = await unit.session.scalar(select(Row).where(Row.hash == bytes(range(32)), Row.at == at))
        assert row is not None
        assert row.at == at
        assert row.at.tzinfo is UTC
        assert row.data == value


async def test_nothing_comes_back_as_nothing(bank: Database) -> None:
    async with bank.begin() as unit:
        unit.session.add(Row(id="srv-1", at=None, hash=None, data={}))
    async with bank.reading() as unit:
        row = await unit.session.get_one(Row, "srv-1")
        assert (row.at, row.hash, row.data) == (None, None, {})


@pytest.mark.parametrize(
    ("column", "value"),
    [("at", datetime(2026, 1, 1)), ("hash", bytes(31)), ("hash", bytes(33))],  # noqa: DTZ001  (naive is the point)
    ids=["naive time", "short hash", "long hash"],
)
async def test_values_that_would_be_changed_in_silence_are_refused(
    bank: Database, column: str, value: object
) -> None:
    with pytest.raises(StatementError, match=r"no zone|32 bytes"):
        async with bank.begin() as unit:
            unit.session.add(Row(**{"id": "srv-1", "data": {}, column: value}))


async def test_it_answers(bank: Database) -> None:
    await bank.ping()


async def test_a_unit_inside_a_unit_of_the_same_task_is_refused_instead_of_waiting_for_ever(
    tmp_path: Path,
) -> None:
    database = Database.connect(DatabaseSettings(Engine.SQLITE, tmp_path / "go2cloud.db"), SystemClock())
    async with database.begin():
        with pytest.raises(NestedUnit):
            async with database.begin():
                raise AssertionError
    await database.close()
