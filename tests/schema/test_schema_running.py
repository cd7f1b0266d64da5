"""The schema commands, on both engines."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from app.kit.clock import SystemClock
from app.kit.database import Database, DatabaseInUse
from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from app.schema.standing import SchemaOutdated, SchemaTooNew
from app.schema.tables import metadata
from tests.services.mariadb_server import MariaDb


async def test_up_and_down_and_up_again(database_settings: DatabaseSettings) -> None:
    await running.upgrade(database_settings)
    assert await running.is_current(database_settings)
    await running.downgrade(database_settings, "base")
    assert await running.current(database_settings) is None
    assert await _tables(database_settings) <= {"alembic_version"}
    await running.upgrade(database_settings)
    assert await running.current(database_settings) == running.head()


async def test_the_versions_make_the_tables_that_the_code_declares(
    database_settings: DatabaseSettings,
) -> None:
    await running.upgrade(database_settings)
    database = Database.connect(database_settings, SystemClock())
    async with database.reading() as unit:
        connection = await unit.session.connection()
        differences = await connection.run_sync(_differences)
    await database.close()
    assert differences == []


def _differences(connection: Connection) -> list[object]:
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, metadata()))


async def test_upgrading_twice_changes_nothing(database_settings: DatabaseSettings) -> None:
    await running.upgrade(database_settings)
    await running.upgrade(database_settings)
    assert await running.is_current(database_settings)


async def test_an_empty_database_is_refused_with_the_command_that_helps(
    database_settings: DatabaseSettings,
) -> None:
    with pytest.raises(SchemaOutdated) as refusal:
        await running.require_usable(database_settings)
    assert refusal.value.remedy == "run: go2cloud db upgrade"


async def test_a_schema_of_another_program_is_refused(database_settings: DatabaseSettings) -> None:
    await running.upgrade(database_settings)
    database = Database.connect(database_settings, SystemClock())
    async with database.begin() as unit:
        await unit.session.execute(text("UPDATE alembic_version SET version_num = '9999_other'"))
        await unit.session.execute(text("DROP TABLE schema_compat"))
    await database.close()
    with pytest.raises(SchemaTooNew, match="9999_other, which is none of go2cloud's"):
        await running.require_usable(database_settings)


async def test_tables_hold_any_text_and_compare_it_byte_by_byte(
    database_settings: DatabaseSettings, request: pytest.FixtureRequest
) -> None:
    """Also in a database that was made with a character set that cannot."""
    if database_settings.engine is Engine.MYSQL:
        server: MariaDb = request.getfixturevalue("mariadb")
        server.execute(f"ALTER DATABASE {database_settings.name} CHARACTER SET latin1")
    await running.upgrade(database_settings)
    database = Database.connect(database_settings, SystemClock())
    async with database.begin() as unit:
        await unit.session.execute(text("CREATE TABLE words (word VARCHAR(20) PRIMARY KEY)"))
        for word in ("web", "WEB", "wéb", "网🚚"):
            await unit.session.execute(text("INSERT INTO words VALUES (:word)"), {"word": word})
        assert await unit.session.scalar(text("SELECT COUNT(*) FROM words")) == 4
    await database.close()


async def test_no_schema_command_under_a_running_service(tmp_path: Path) -> None:
    settings = DatabaseSettings(engine=Engine.SQLITE, path=tmp_path / "go2cloud.db")
    database = Database.connect(settings, SystemClock())
    with pytest.raises(DatabaseInUse, match=r"go2cloud\.db"):
        await running.upgrade(settings)
    await database.close()
    await running.upgrade(settings)


async def test_asking_for_the_version_makes_no_file(tmp_path: Path) -> None:
    settings = DatabaseSettings(engine=Engine.SQLITE, path=tmp_path / "go2cloud.db")
    assert await running.current(settings) is None
    assert not any(file.is_file() for file in [settings.path, *settings.path.parents])


async def _tables(settings: DatabaseSettings) -> set[str]:
    database = Database.connect(settings, SystemClock())
    async with database.reading() as unit:
        connection = await unit.session.connection()
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await database.close()
    return set(names)
