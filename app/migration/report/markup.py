"""HTML out of values: whatever is put into it is text, unless it was made here."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from app.kit.amounts import size_text


@dataclass(frozen=True)
class Markup:
    """HTML that was made here, from escaped texts."""

    html: str


Part = Markup | str | int | float | bool | datetime | None


def rendered(part: Part) -> str:
    """A part as HTML: texts escaped, times in UTC, a dash for what is not known."""
    if isinstance(part, Markup):
        return part.html
    if part is None or part == "":
        return "–"
    if isinstance(part, bool):
        return "yes" if part else "no"
    if isinstance(part, datetime):
        return f"{part:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(part, float):
        return f"{part:.3f}".rstrip("0").rstrip(".")
    return escape(_visible(str(part)))


def _visible(text: str) -> str:
    """A text of a stranger without what changes how others read: control codes, changes of direction."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def joined(parts: Iterable[Markup]) -> Markup:
    """One after the other."""
    return Markup("\n".join(part.html for part in parts))


def tag(name: str, *parts: Part, kind: str | None = None) -> Markup:
    """An element; `name` and `kind` (its class) are words of ours."""
    opening = f'{name} class="{kind}"' if kind else name
    return Markup(f"<{opening}>{''.join(rendered(part) for part in parts)}</{name}>")


def code(text: str | None) -> Markup:
    """Something that is compared letter by letter."""
    return Markup("–") if text is None else tag("code", text)


def size(amount: int) -> str:
    """Bytes for people, and exactly."""
    return f"{size_text(amount)} ({amount} bytes)" if amount >= 1024 else f"{amount} bytes"


def seconds(value: float | None) -> str | None:
    """A duration."""
    return None if value is None else f"{rendered(float(value))} s"


def table(titles: Sequence[str], rows: Iterable[Sequence[Part]]) -> Markup:
    """A table with a head; a line that says so where there are no rows."""
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    if not body:
        return tag("p", "None.", kind="lead")
    head = tag("thead", tag("tr", *(tag("th", title) for title in titles)))
    return tag("table", head, tag("tbody", *body))


def facts(pairs: Iterable[tuple[str, Part]]) -> Markup:
    """A table of names and values."""
    rows = [tag("tr", tag("th", name), tag("td", value)) for name, value in pairs]
    return tag("table", *rows, kind="facts")


def section(title: str, *parts: Markup) -> Markup:
    """A part of the page under a heading."""
    return tag("section", tag("h2", title), *parts)
