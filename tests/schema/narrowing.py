"""What a version of the schema takes away from programs that know only the one before."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect

Columns = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Shape:
    """The tables of a schema by name: their columns, and what rows are held to."""

    columns: dict[str, Columns]
    demands: dict[str, frozenset[str]]


def shape_of(connection: Connection) -> Shape:
    """What is there now, but for alembic's own table."""
    inspector = inspect(connection)
    names = [name for name in inspector.get_table_names() if name != "alembic_version"]
    columns = {name: {str(c["name"]): dict(c) for c in inspector.get_columns(name)} for name in names}
    return Shape(columns, {name: frozenset(_demands(inspector, name)) for name in names})


def _demands(inspector: Any, table: str) -> Iterator[str]:
    for each in inspector.get_unique_constraints(table):
        yield f"unique {sorted(each['column_names'])}"
    for each in inspector.get_indexes(table):
        if each["unique"]:
            yield f"unique {sorted(map(str, each['column_names']))}"
    for each in inspector.get_foreign_keys(table):
        yield f"{each['constrained_columns']} refers to {each['referred_table']}"
    for each in inspector.get_check_constraints(table):
        yield f"check {each['sqltext']}"


def narrowings(before: Shape, after: Shape) -> Iterator[str]:
    """Each thing that a program which knows `before` may stumble over in `after`."""
    for table, columns in before.columns.items():
        if table not in after.columns:
            yield f"{table} is gone"
            continue
        yield from (f"{table}: {each}" for each in _narrowed(columns, after.columns[table]))
        yield from (f"{table}: {each}" for each in after.demands[table] - before.demands[table])


def _narrowed(before: Columns, after: Columns) -> Iterator[str]:
    for name, column in before.items():
        if name not in after:
            yield f"{name} is gone"
        elif not _holds(str(after[name]["type"]), str(column["type"])):
            yield f"{name} was {column['type']} and is {after[name]['type']}"
        elif column["nullable"] and not after[name]["nullable"]:
            yield f"{name} may not be null any more"
        elif column["default"] is not None and after[name]["default"] is None:
            yield f"{name} has no default any more"
    for name in after.keys() - before.keys():
        if not after[name]["nullable"] and after[name]["default"] is None:
            yield f"{name} is new, may not be null and has no default"


def _holds(now: str, earlier: str) -> bool:
    """Whether a column of the type `now` takes all that one of `earlier` took."""
    wide, narrow = (re.fullmatch(r"(.*?)\((\d+)\)(.*)", each) for each in (now, earlier))
    if wide is None or narrow is None:
        return now == earlier
    return wide.group(1, 3) == narrow.group(1, 3) and int(wide.group(2)) >= int(narrow.group(2))
