"""Steps of an upgrade that may be repeated.

MariaDB and MySQL commit each DDL statement at once. An upgrade that is killed between two of them is begun
again from its first one, which must leave alone what is there. A table is made so with `op.create_table` and
``if_not_exists``, which all engines know; columns and indexes MariaDB alone makes so: these look first.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op


def add_column(table: str, column: sa.Column[Any]) -> None:
    """Add a column, unless it is there."""
    if column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        with op.batch_alter_table(table) as batch:
            batch.add_column(column)


def add_index(name: str, table: str, columns: Sequence[str]) -> None:
    """Add an index that is not unique, unless it is there."""
    if name not in {each["name"] for each in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(op.f(name), table, list(columns), unique=False)
