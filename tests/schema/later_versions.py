"""Versions of the schema that a later program has: two that are made up, and how they are applied."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

import app.schema.versions
from app.kit.engines import make_schema_engine
from app.kit.settings import DatabaseSettings

EXPANDING = "9001"
CONTRACTING = "9002"

_HEAD = '''"""Made up."""

import sqlalchemy as sa
from alembic import op

from app.schema.compat import Change, require_program

revision = "{revision}"
down_revision = "{before}"
branch_labels = None
depends_on = None
CHANGE = Change.{change}


def upgrade():
'''

_EXPANDS = """
    with op.batch_alter_table("server") as batch:
        batch.add_column(sa.Column("colour", sa.String(16), nullable=False, server_default="blue"))
        batch.add_column(sa.Column("weight", sa.Integer(), nullable=True))
        batch.create_index("ix_server_colour", ["colour"])
    with op.batch_alter_table("install_token") as batch:
        batch.add_column(sa.Column("colour", sa.String(16), nullable=False, server_default="red"))
    op.create_table("crate", sa.Column("id", sa.Integer(), primary_key=True))


def downgrade():
    op.drop_table("crate")
    with op.batch_alter_table("install_token") as batch:
        batch.drop_column("colour")
    with op.batch_alter_table("server") as batch:
        batch.drop_index("ix_server_colour")
        batch.drop_column("weight")
        batch.drop_column("colour")
"""

_CONTRACTS = """
    require_program("9001")
    with op.batch_alter_table("server") as batch:
        batch.drop_column("weight")


def downgrade():
    with op.batch_alter_table("server") as batch:
        batch.add_column(sa.Column("weight", sa.Integer(), nullable=True))
    require_program("{minimum}")
"""


def write_later_versions(folder: Path, head: str, minimum: str) -> None:
    """Put both into `folder`, behind the version `head` of this program."""
    expands = _HEAD.format(revision=EXPANDING, before=head, change="EXPANDS") + _EXPANDS
    contracts = _HEAD.format(revision=CONTRACTING, before=EXPANDING, change="CONTRACTS") + _CONTRACTS
    (folder / "v9001_made_up.py").write_text(expands)
    (folder / "v9002_made_up.py").write_text(contracts.replace("{minimum}", minimum))


def config_of(*folders: Path) -> Config:
    """The versions of this program, and those in `folders`."""
    own = Path(app.schema.versions.__file__).parent
    config = Config()
    config.set_main_option("script_location", "app:schema")
    config.set_main_option("path_separator", "os")
    config.set_main_option("version_locations", ":".join(map(str, (own, *folders))))
    return config


async def apply(settings: DatabaseSettings, work: Callable[[Connection], None]) -> None:
    """Run schema commands as a later program's Job does."""
    engine = make_schema_engine(settings)
    try:
        async with engine.connect() as connection:
            await connection.run_sync(work)
            await connection.commit()
    finally:
        await engine.dispose()


def go_to(config: Config, connection: Connection, revision: str, *, up: bool = True) -> None:
    """Bring the schema to `revision` in one transaction, where the engine has one for that."""
    config.attributes["connection"] = connection
    (command.upgrade if up else command.downgrade)(config, revision)
    connection.commit()


async def bring_to(settings: DatabaseSettings, folder: Path, revision: str) -> None:
    """Upgrade to a version of `folder`."""
    await apply(settings, lambda connection: go_to(config_of(folder), connection, revision))
