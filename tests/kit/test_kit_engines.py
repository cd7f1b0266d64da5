"""What is peculiar to an engine: the file of SQLite and its lock, the sessions of MariaDB and their ends."""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.kit import retry
from app.kit.clock import SystemClock
from app.kit.database import CommitUncertain, Database, DatabaseInUse, UnitOfWork
from app.kit.engines import IDLE_SECONDS, LOCK_WAIT_SECONDS
from app.kit.settings import DatabaseSettings, Engine
from tests.kit.bank import balance, deposit, opened
from tests.services.mariadb_server import MariaDb


async def test_a_second_opening_of_the_file_is_refused_by_its_name(tmp_path: Path) -> None:
    settings = DatabaseSettings(Engine.SQLITE, tmp_path / "new" / "go2cloud.db")
    database = Database.connect(settings, SystemClock())
    with pytest.raises(DatabaseInUse, match=str(settings.path)) as refusal:
        Database.connect(settings, SystemClock())
    assert refusal.value.remedy is not None
    assert "stop the go2cloud service" in refusal.value.remedy
    await database.close()
    await Database.connect(settings, SystemClock()).close()


def _open(path: str) -> None:
    Database.connect(DatabaseSettings(Engine.SQLITE, Path(path)), SystemClock())
    raise SystemExit(7)


async def test_the_lock_holds_between_processes_and_ends_with_the_process(tmp_path: Path) -> None:
    path = str(tmp_path / "go2cloud.db")
    database = Database.connect(DatabaseSettings(Engine.SQLITE, Path(path)), SystemClock())
    assert await _exit_code(path) == 1
    await database.close()
    assert await _exit_code(path) == 7
    await Database.connect(DatabaseSettings(Engine.SQLITE, Path(path)), SystemClock()).close()


async def _exit_code(path: str) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=_open, args=(path,))
    process.start()
    await asyncio.to_thread(process.join)
    return process.exitcode


async def test_sqlite_survives_a_power_cut_and_checks_references(tmp_path: Path) -> None:
    database = Database.connect(DatabaseSettings(Engine.SQLITE, tmp_path / "go2cloud.db"), SystemClock())
    async with database.begin() as unit:
        wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "query_only": 0}
        for pragma, value in wanted.items():
            assert await unit.session.scalar(text(f"PRAGMA {pragma}")) == value
    await database.close()


@pytest.fixture
async def mariadb_bank(mariadb: MariaDb) -> AsyncIterator[Database]:
    """The accounts on MariaDB."""
    settings = mariadb.create_database()
    database = await opened(settings, SystemClock())
    yield database
    await database.close()
    mariadb.drop_database(settings)


@pytest.mark.service
async def test_a_mariadb_session_is_strict_in_utc_and_read_committed(mariadb_bank: Database) -> None:
    async with mariadb_bank.begin() as unit:
        query = "SELECT @@time_zone, @@tx_isolation, @@character_set_connection, @@sql_mode"
        zone, isolation, charset, mode = (await unit.session.execute(text(query))).one()
    assert (zone, isolation, charset) == ("+00:00", "READ-COMMITTED", "utf8mb4")
    assert "STRICT_ALL_TABLES" in mode


@pytest.mark.service
async def test_a_mariadb_session_that_stands_still_does_not_hold_its_locks_for_ever(
    mariadb_bank: Database,
) -> None:
    async with mariadb_bank.begin() as unit:
        query = "SELECT @@idle_write_transaction_timeout, @@innodb_lock_wait_timeout"
        assert (await unit.session.execute(text(query))).one() == (IDLE_SECONDS, LOCK_WAIT_SECONDS)


@pytest.mark.service
async def test_a_server_that_takes_no_writes_for_a_while_is_unreachable(
    mariadb_bank: Database, mariadb: MariaDb
) -> None:
    mariadb.execute("SET GLOBAL read_only = 1")
    try:
        with pytest.raises(OperationalError) as failure:
            await mariadb_bank.run(lambda unit: deposit(unit, "a"))
    finally:
        mariadb.execute("SET GLOBAL read_only = 0")
    assert retry.is_unreachable(failure.value)
    assert await balance(mariadb_bank, "a") == 0


@pytest.mark.service
async def test_a_connection_lost_before_the_commit_is_done_again(
    mariadb_bank: Database, mariadb: MariaDb
) -> None:
    attempts = 0

    async def lose_once(unit: UnitOfWork) -> None:
        nonlocal attempts
        attempts += 1
        await deposit(unit, "a")
        if attempts == 1:
            mariadb.execute(f"KILL {await unit.session.scalar(text('SELECT CONNECTION_ID()'))}")
        await deposit(unit, "b")

    await mariadb_bank.run(lose_once)
    assert attempts == 2
    assert (await balance(mariadb_bank, "a"), await balance(mariadb_bank, "b")) == (1, 1)


@pytest.mark.service
async def test_a_connection_lost_during_the_commit_is_not_repeated_but_said(
    mariadb_bank: Database, mariadb: MariaDb
) -> None:
    attempts = 0

    async def lose_at_the_end(unit: UnitOfWork) -> None:
        nonlocal attempts
        attempts += 1
        await deposit(unit, "a")
        mariadb.execute(f"KILL {await unit.session.scalar(text('SELECT CONNECTION_ID()'))}")

    with pytest.raises(CommitUncertain):
        await mariadb_bank.run(lose_at_the_end)
    assert attempts == 1


@pytest.mark.service
async def test_a_server_that_is_not_there_is_unreachable(mariadb_bank: Database) -> None:
    settings = DatabaseSettings(Engine.MYSQL, Path("/x"), port=1, user="u")
    absent = Database.connect(settings, SystemClock())
    with pytest.raises(OperationalError) as failure:
        await absent.ping()
    assert retry.is_unreachable(failure.value)
    assert not retry.is_unreachable(ValueError())
    await absent.close()
