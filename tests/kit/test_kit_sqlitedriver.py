"""Statements of SQLite: one way to the thread of their connection, and nothing left behind by any."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.kit.sqlitedriver import WholeConnection, connect


@pytest.fixture
async def connection(tmp_path: Path) -> AsyncIterator[WholeConnection]:
    opened = await connect(tmp_path / "bank.db", statements=4)
    await _execute(
        opened, "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER CHECK (balance >= 0))"
    )
    yield opened
    await opened.close()


async def _execute(connection: WholeConnection, sql: str, *parameters: Any) -> list[Any]:
    async with connection.cursor() as cursor:
        await cursor.execute(sql, parameters)
        return list(await cursor.fetchall())


async def test_a_statement_is_one_way_to_its_thread(
    connection: WholeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways: list[object] = []
    thread = connection._tx

    class Counted:
        def put_nowait(self, item: Any) -> None:
            ways.append(item)
            thread.put_nowait(item)

    monkeypatch.setattr(connection, "_tx", Counted())
    assert await _execute(connection, "INSERT INTO account VALUES (1, 5), (2, 7) RETURNING id") == [
        (1,),
        (2,),
    ]
    assert len(ways) == 1
    assert await _execute(connection, "SELECT balance FROM account WHERE id > ?", 1) == [(7,)]
    assert len(ways) == 2


async def test_a_cursor_tells_what_its_statement_did(connection: WholeConnection) -> None:
    cursor = connection.cursor()
    await cursor.executemany("INSERT INTO account VALUES (?, ?)", [(1, 5), (2, 7), (3, 0)])
    assert cursor.rowcount == 3
    await cursor.execute("INSERT INTO account VALUES (9, 1)")
    assert cursor.lastrowid == 9
    await cursor.execute("UPDATE account SET balance = 8 WHERE id < 3")
    assert (cursor.rowcount, await cursor.fetchall()) == (2, [])
    await cursor.execute("SELECT id, balance FROM account WHERE id < 3")
    assert [name for name, *_ in cursor.description] == ["id", "balance"]
    assert [await cursor.fetchall(), await cursor.fetchall()] == [[(1, 8), (2, 8)], []]


async def test_a_statement_that_fails_holds_no_lock(connection: WholeConnection, tmp_path: Path) -> None:
    await _execute(connection, "BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.IntegrityError):
        await _execute(connection, "INSERT INTO account VALUES (1, 5), (2, -7)")
    await connection.rollback()
    with sqlite3.connect(tmp_path / "bank.db", timeout=0) as other:
        other.execute("INSERT INTO account VALUES (1, 1)")
    other.close()


async def test_a_statement_that_is_cancelled_ends_with_its_connection(
    connection: WholeConnection, tmp_path: Path
) -> None:
    await _execute(connection, "BEGIN IMMEDIATE")
    long = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
    waiting = asyncio.create_task(
        _execute(connection, long + "INSERT INTO account SELECT i, i FROM n RETURNING id")
    )
    await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await connection.close()
    with sqlite3.connect(tmp_path / "bank.db", timeout=0) as other:
        other.execute("INSERT INTO account VALUES (1, 1)")
        assert other.execute("SELECT count(*) FROM account").fetchall() == [(1,)]
    other.close()
