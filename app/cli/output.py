"""Results on stdout: tables for people, JSON, YAML and CSV for programs, names for loops.

`table` and `wide` show sizes and times as people read them; the other formats carry the resource itself, as
the API gave it (CSV: the columns of `wide`, unrounded).
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Generic, TypeVar

import typer

from app.contract.resources.base import Resource
from app.kit.amounts import size_text

R = TypeVar("R", bound=Resource)

Cell = str | int | float | bool | datetime | timedelta | None


class Format(StrEnum):
    """How results look."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    NAME = "name"


Out = Annotated[Format, typer.Option("--output", "-o", help="How the result looks.")]
"""The option that every command with a result has."""


@dataclass(frozen=True, slots=True)
class Column(Generic[R]):
    """One column; `wide` ones are left out of `table`; `show` writes a cell for people."""

    title: str
    read: Callable[[R], Cell]
    wide: bool = False
    show: Callable[[Cell], str] | None = None


@dataclass(frozen=True, slots=True)
class View(Generic[R]):
    """How a noun is shown; `name` is what `-o name` prints."""

    columns: tuple[Column[R], ...]
    name: Callable[[R], str]


def show_list(items: Iterable[R], view: View[R], form: Format) -> None:
    """Print a list."""
    rows = list(items)
    if form in (Format.JSON, Format.YAML):
        _structured([_plain(row) for row in rows], form)
    elif form is Format.CSV:
        _csv(rows, view)
    elif form is Format.NAME:
        _lines(view.name(row) for row in rows)
    else:
        _table(rows, view, form)


def show_one(item: R, view: View[R], form: Format) -> None:
    """Print one resource: every column on a line of its own, or as the format says."""
    if form in (Format.JSON, Format.YAML):
        _structured(_plain(item), form)
    elif form in (Format.TABLE, Format.WIDE):
        width = max(len(column.title) for column in view.columns) + 2
        _lines(f"{column.title + ':':<{width}}{_text(column, item)}" for column in view.columns)
    else:
        show_list([item], view, form)


def size(value: Cell) -> str:
    """Bytes as people read them, in powers of 1,024."""
    return size_text(value) if isinstance(value, int) else "-"


def harmless(text: str) -> str:
    """A text that may come from a source host, as one line that does nothing to the reader's terminal: what
    cannot be printed (control codes, line ends, changes of direction) is escaped."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def _text(column: Column[R], item: R) -> str:
    return harmless(_words(column, item))


def _words(column: Column[R], item: R) -> str:
    value = column.read(item)
    if value is None:
        return "-"
    if column.show is not None:
        return column.show(value)
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _table(rows: Sequence[R], view: View[R], form: Format) -> None:
    columns = [column for column in view.columns if form is Format.WIDE or not column.wide]
    cells = [[column.title for column in columns]]
    cells += [[_text(column, row) for column in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    _lines(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _csv(rows: Sequence[R], view: View[R]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(column.title.lower().replace(" ", "_") for column in view.columns)
    writer.writerows([_raw(column.read(row)) for column in view.columns] for row in rows)
    typer.echo(text.getvalue(), nl=False)


def _raw(value: Cell) -> str | int | float | None:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.total_seconds() if isinstance(value, timedelta) else value


def _plain(item: Resource) -> object:
    return item.model_dump(mode="json", by_alias=True)


def _structured(value: object, form: Format) -> None:
    if form is Format.JSON:
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml  # it takes a while to load, and few ask for it

        typer.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        typer.echo(line)
