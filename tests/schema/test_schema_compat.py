"""Each version says whether it expands the schema or contracts it, and does what it says."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Connection

from app.kit.settings import DatabaseSettings, Engine
from app.schema import running
from app.schema.compat import Change, minimum_revision
from app.schema.standing import NEWER, SchemaTooNew, Standing
from tests.schema.later_versions import (
    CONTRACTING,
    EXPANDING,
    apply,
    bring_to,
    config_of,
    go_to,
    write_later_versions,
)
from tests.schema.narrowing import Shape, narrowings, shape_of

FIRST = "0017"
MINIMUM = "0017"
"""What the newest contracting version of this program says."""


def versions_of(config: Config) -> list[Script]:
    """All versions, from the first."""
    return list(ScriptDirectory.from_config(config).walk_revisions())[::-1]


def breaches(config: Config, connection: Connection) -> Iterator[str]:
    """What versions after the first that has to say so do other than they say, step by step, up and down."""
    later = [version for version in versions_of(config) if version.revision > FIRST]
    go_to(config, connection, FIRST)
    for version in later:
        before, minimum = shape_of(connection), minimum_revision(connection)
        go_to(config, connection, version.revision)
        yield from (
            f"{version.revision}: {each}" for each in _breaches(version, connection, before, str(minimum))
        )
        go_to(config, connection, str(version.down_revision), up=False)
        if minimum_revision(connection) != minimum:
            yield f"{version.revision}: its downgrade leaves {minimum_revision(connection)}, not {minimum}"
        go_to(config, connection, version.revision)


def _breaches(version: Script, connection: Connection, before: Shape, minimum: str) -> Iterator[str]:
    now = str(minimum_revision(connection))
    change = getattr(version.module, "CHANGE", None)
    if change is Change.EXPANDS:
        yield from narrowings(before, shape_of(connection))
        if now != minimum:
            yield f"expands, and raises the oldest program to {now}"
    elif change is Change.CONTRACTS:
        if not minimum < now <= version.revision:
            yield f"contracts, and leaves the oldest program at {now}"
    else:
        yield "states no CHANGE: Change.EXPANDS or Change.CONTRACTS"


def test_versions_sort_as_text() -> None:
    names = [version.revision for version in versions_of(config_of())]
    assert all(re.fullmatch(r"\d{4}", name) for name in names)
    assert names == sorted(names)


async def test_each_version_does_what_it_says(database_settings: DatabaseSettings) -> None:
    found: list[str] = []
    await apply(database_settings, lambda connection: found.extend(breaches(config_of(), connection)))
    assert found == []


async def test_versions_that_are_sound_pass(database_settings: DatabaseSettings, tmp_path: Path) -> None:
    write_later_versions(tmp_path, running.head(), MINIMUM)
    found: list[str] = []
    await apply(database_settings, lambda connection: found.extend(breaches(config_of(tmp_path), connection)))
    assert found == []


@pytest.mark.parametrize(
    ("wanted", "put", "breach"),
    [
        ("nullable=True", "nullable=False", "server: weight is new, may not be null and has no default"),
        ('batch.create_index("ix_server_colour", ["colour"])', 'batch.drop_column("name")', "name is gone"),
        ('op.create_table("crate"', 'op.rename_table("checkpoint", "c"); op.create_table("crate"', "is gone"),
        ("CHANGE = Change.EXPANDS\n", "", "states no CHANGE"),
        ("def upgrade():\n", 'def upgrade():\n    require_program("9001")\n', "expands, and raises"),
        ("CHANGE = Change.EXPANDS", "CHANGE = Change.CONTRACTS", "contracts, and leaves"),
    ],
)
async def test_a_version_that_lies_is_found(tmp_path: Path, wanted: str, put: str, breach: str) -> None:
    write_later_versions(tmp_path, running.head(), MINIMUM)
    (tmp_path / "v9002_made_up.py").unlink()
    version = tmp_path / "v9001_made_up.py"
    up, down = version.read_text().split("def downgrade():\n")
    assert wanted in up
    version.write_text(up.replace(wanted, put) + "def downgrade():\n" + down)
    settings = DatabaseSettings(engine=Engine.SQLITE, path=tmp_path / "go2cloud.db")
    found: list[str] = []
    await apply(settings, lambda connection: found.append(next(breaches(config_of(tmp_path), connection))))
    assert breach in found[0]


async def test_an_expanded_schema_is_run_on_with_a_warning_and_left_as_it_is(
    database_settings: DatabaseSettings, tmp_path: Path
) -> None:
    write_later_versions(tmp_path, running.head(), MINIMUM)
    await running.upgrade(database_settings)
    await bring_to(database_settings, tmp_path, EXPANDING)
    standing = await running.require_usable(database_settings)
    standing.tell()
    assert (standing.is_newer, NEWER._value.get()) == (True, 1)
    await running.upgrade(database_settings)
    assert await running.current(database_settings) == EXPANDING
    with pytest.raises(SchemaTooNew) as refusal:
        await running.downgrade(database_settings, FIRST)
    assert refusal.value.remedy == "run this command with the newer go2cloud that made it"


async def test_a_contracted_schema_is_refused_with_the_way_back(
    database_settings: DatabaseSettings, tmp_path: Path
) -> None:
    write_later_versions(tmp_path, running.head(), MINIMUM)
    await running.upgrade(database_settings)
    await bring_to(database_settings, tmp_path, CONTRACTING)
    with pytest.raises(SchemaTooNew, match="needs a program that knows 9001") as refusal:
        await running.require_usable(database_settings)
    assert refusal.value.remedy is not None
    assert f"go2cloud db downgrade {running.head()}" in refusal.value.remedy
    with pytest.raises(SchemaTooNew):
        await running.upgrade(database_settings)


def test_a_known_version_that_is_half_contracted_is_refused() -> None:
    """The program of the version before: the schema still says its version, and lacks what it uses."""
    with pytest.raises(
        SchemaTooNew, match="began to change, so that it needs a program that knows 9002"
    ) as refusal:
        Standing("9001", "9001", is_known=True, minimum="9002").require_usable()
    assert refusal.value.remedy is not None
    assert "go2cloud db upgrade" in refusal.value.remedy
    Standing("9001", "9001", is_known=True, minimum="9001").require_usable()


async def test_a_half_contracted_schema_is_not_changed_by_an_older_program(
    database_settings: DatabaseSettings,
) -> None:
    await running.upgrade(database_settings)
    await apply(database_settings, _raise_minimum)
    for change in (running.upgrade(database_settings), running.downgrade(database_settings, FIRST)):
        with pytest.raises(SchemaTooNew):
            await change


def _raise_minimum(connection: Connection) -> None:
    connection.execute(sa.text("UPDATE schema_compat SET minimum_revision = '9002'"))


async def test_a_contracting_version_that_breaks_off_half_way_lets_no_older_program_start(
    database_settings: DatabaseSettings, tmp_path: Path
) -> None:
    """On MariaDB what was taken away by then is gone; on SQLite nothing is."""
    write_later_versions(tmp_path, running.head(), MINIMUM)
    version = tmp_path / "v9002_made_up.py"
    version.write_text(
        version.read_text().replace("\n\ndef downgrade", "\n    op.drop_table('none')\n\n\ndef downgrade")
    )
    await running.upgrade(database_settings)
    await bring_to(database_settings, tmp_path, EXPANDING)
    with pytest.raises(Exception, match="none"):
        await bring_to(database_settings, tmp_path, CONTRACTING)
    standing = await running.standing(database_settings)
    gone: list[bool] = []
    await apply(database_settings, lambda connection: gone.append(_is_gone(connection)))
    assert (standing.minimum == EXPANDING) == gone[0]


def _is_gone(connection: Connection) -> bool:
    return "weight" not in shape_of(connection).columns["server"]
