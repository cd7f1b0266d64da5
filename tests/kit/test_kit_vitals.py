"""The process measures its event loop and its connections to the database."""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY

from app.kit import vitals
from app.kit.database import Database
from app.kit.settings import DatabaseSettings, Engine


def _late(at_most: str) -> float:
    return REGISTRY.get_sample_value("go2cloud_event_loop_late_seconds_bucket", {"le": at_most}) or 0.0


async def test_a_loop_that_is_held_up_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "LOOK_SECONDS", 0.01)
    watching = asyncio.create_task(vitals.watch_loop())
    before = _late("+Inf") - _late("0.25")
    await asyncio.sleep(0)
    time.sleep(0.4)  # noqa: ASYNC251  (holding up the loop is what is tested)
    async with asyncio.timeout(30):
        while _late("+Inf") - _late("0.25") == before:  # noqa: ASYNC110  (a metric has no event to wait for)
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_connections_are_counted_while_a_unit_holds_them(database: Database) -> None:
    assert database.connections_in_use == 0
    async with database.begin() as uow:
        await uow.session.connection()
        assert database.connections_in_use == 1
    assert database.connections_in_use == 0


async def test_a_server_database_has_a_limit(database: Database, database_settings: DatabaseSettings) -> None:
    is_server = database_settings.engine is Engine.MYSQL
    assert database.connections_limit == (20 if is_server else 0)
